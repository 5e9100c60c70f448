import { readBytes, type Source } from "./source.ts";

/** Bytes `[start, end)` of one of several files. */
export interface ByteRange {
  /** Index of the file. */
  readonly shard: number;
  readonly start: number;
  readonly end: number;
}

/** Bytes of one of several files that have been read. A plain record. */
export interface Loaded {
  readonly shard: number;
  readonly start: number;
  readonly bytes: Uint8Array;
}

/** Ranges of at most so many bytes are read together with their neighbours. */
const SMALL = 1 << 18;
/** Bytes read at a time, and how many such reads are remembered. */
const MOST_BYTES = 1 << 21;
const REMEMBERED = 4;
/** Bytes between two ranges that cost less than another read. */
const GAP = 1 << 14;

/**
 * Sources that read small ranges which lie side by side in one go. Every read is a round trip, to a server
 * or to the disk, and a model has thousands of tensors of a few kilobytes.
 * @param sources of the files, by index
 * @param ranges that will be read, each as a whole or in parts
 */
export function mergeReads(sources: readonly Source[], ranges: Iterable<ByteRange>): Source[] {
  const byShard: ByteRange[][] = sources.map(() => []);
  for (const range of ranges) if (isSmall(range)) byShard[range.shard]!.push(range);
  const found = new Map<ByteRange, Promise<Uint8Array>>();
  const load = (range: ByteRange): Promise<Uint8Array> => {
    const bytes = found.get(range) ?? readBytes(sources[range.shard]!, range.start, range.end);
    // What was asked for last is remembered longest. A read that fails is not remembered.
    found.delete(range);
    found.set(range, bytes);
    bytes.catch(() => found.delete(range));
    if (found.size > REMEMBERED) found.delete(found.keys().next().value!);
    return bytes;
  };
  return sources.map((source, shard) => {
    const merged = mergeRanges(byShard[shard]!);
    if (merged.length === 0) return source;
    return withKnownBytes(source, (start, end) => {
      const range = lastStartingBy(merged, start);
      return range === undefined || range.end < end ? null : { start: range.start, bytes: load(range) };
    });
  });
}

/** Whether a range is read as a whole, and together with others. */
export function isSmall({ start, end }: ByteRange): boolean {
  return end > start && end - start <= SMALL;
}

/** Merges ranges that lie side by side, up to {@link MOST_BYTES} bytes. */
function mergeRanges(ranges: readonly ByteRange[]): ByteRange[] {
  const merged: ByteRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    const end = Math.max(last?.end ?? 0, range.end);
    if (last === undefined || range.start > last.end + GAP || end - last.start > MOST_BYTES)
      merged.push(range);
    else merged[merged.length - 1] = { ...last, end };
  }
  return merged;
}

/** The last range that starts at a place or before it. The ranges are in order. */
function lastStartingBy(ranges: readonly ByteRange[], start: number): ByteRange | undefined {
  let [low, high] = [0, ranges.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ranges[middle]!.start <= start) low = middle + 1;
    else high = middle;
  }
  return ranges[low - 1];
}

/** Sources that need not read again what has been read. */
export function withLoaded(sources: readonly Source[], loaded: readonly Loaded[]): readonly Source[] {
  if (loaded.length === 0) return sources;
  const known = sources.slice();
  for (const { shard, start, bytes } of loaded) {
    known[shard] = withKnownBytes(known[shard]!, (first, end) =>
      first >= start && end <= start + bytes.length ? { start, bytes } : null,
    );
  }
  return known;
}

/** A source of which some bytes are known. @param find the bytes that hold a range, if there are any */
function withKnownBytes(
  source: Source,
  find: (start: number, end: number) => { start: number; bytes: Uint8Array | Promise<Uint8Array> } | null,
): Source {
  const read = async (first: number, into: Uint8Array): Promise<number> => {
    const found = find(first, first + into.length);
    const bytes =
      found === null
        ? await readBytes(source, first, first + into.length, into)
        : (await found.bytes).subarray(first - found.start, first - found.start + into.length);
    if (bytes.buffer !== into.buffer) into.set(bytes);
    return bytes.length;
  };
  return {
    size: source.size,
    slice: (start, end) => ({
      arrayBuffer: async () => {
        const bytes = new Uint8Array(end - start);
        return bytes.buffer.slice(0, await read(start, bytes));
      },
    }),
    read,
  };
}
