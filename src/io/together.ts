import { readBytes, type Source } from "./source.ts";

/** Bytes `[start, end)` of one of several files. */
export interface Range {
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
const MOST = 1 << 21;
const REMEMBERED = 4;
/** Bytes between two ranges that cost less than another read. */
const GAP = 1 << 14;

/**
 * Sources that read small ranges which lie side by side in one go. Every read is a round trip, to a server
 * or to the disk, and a model has thousands of tensors of a few kilobytes.
 * @param sources of the files, by index
 * @param ranges that will be read, each as a whole or in parts
 */
export function readTogether(sources: readonly Source[], ranges: Iterable<Range>): Source[] {
  const byShard: Range[][] = sources.map(() => []);
  for (const range of ranges) if (isSmall(range)) byShard[range.shard]!.push(range);
  const found = new Map<Range, Promise<Uint8Array>>();
  const load = (run: Range): Promise<Uint8Array> => {
    const bytes = found.get(run) ?? readBytes(sources[run.shard]!, run.start, run.end);
    // What was asked for last is remembered longest; a failure is met by who waits for it, and not again.
    found.delete(run);
    found.set(run, bytes);
    bytes.catch(() => found.delete(run));
    if (found.size > REMEMBERED) found.delete(found.keys().next().value!);
    return bytes;
  };
  return sources.map((source, shard) => {
    const runs = joined(byShard[shard]!);
    if (runs.length === 0) return source;
    return overlaid(source, (start, end) => {
      const run = lastBefore(runs, start);
      return run === undefined || run.end < end ? null : { start: run.start, bytes: load(run) };
    });
  });
}

/** Whether a range is read as a whole, and together with others. */
export function isSmall({ start, end }: Range): boolean {
  return end > start && end - start <= SMALL;
}

/** Ranges that lie side by side made one, up to some size. */
function joined(ranges: readonly Range[]): Range[] {
  const runs: Range[] = [];
  for (const range of [...ranges].sort((a, b) => a.start - b.start)) {
    const last = runs.at(-1);
    const end = Math.max(last?.end ?? 0, range.end);
    if (last === undefined || range.start > last.end + GAP || end - last.start > MOST) runs.push(range);
    else runs[runs.length - 1] = { ...last, end };
  }
  return runs;
}

/** The last run that does not begin behind a place. */
function lastBefore(runs: readonly Range[], start: number): Range | undefined {
  let [low, high] = [0, runs.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (runs[middle]!.start <= start) low = middle + 1;
    else high = middle;
  }
  return runs[low - 1];
}

/** Sources that need not read again what has been read. */
export function withLoaded(sources: readonly Source[], loaded: readonly Loaded[]): readonly Source[] {
  if (loaded.length === 0) return sources;
  const known = sources.slice();
  for (const { shard, start, bytes } of loaded) {
    known[shard] = overlaid(known[shard]!, (first, end) =>
      first >= start && end <= start + bytes.length ? { start, bytes } : null,
    );
  }
  return known;
}

/** A source of which some bytes are known. @param find the bytes that hold a range, if there are any */
function overlaid(
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
