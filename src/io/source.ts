import { BlockscaleError } from "../tensor/errors.ts";

/**
 * Bytes that can be read from any place: a `Blob` or `File` is one, and so are `Bun.file`, the range-reading
 * blobs of `@huggingface/hub`, and what `openFile` of `blockscale/node` gives.
 */
export interface Source {
  /** Size of the file in bytes. */
  readonly size: number;
  /** The bytes `[start, end)`, read when `arrayBuffer` is called. */
  slice(start: number, end: number): { arrayBuffer(): Promise<ArrayBuffer> };
  /**
   * Fills an array with the bytes from `start` on; tells how many there were. Optional: where it is, large
   * reads use the same memory again and again.
   */
  read?(start: number, into: Uint8Array): Promise<number>;
  /**
   * Fails where the bytes are no longer those that were opened.
   * Optional: sources that cannot change have none.
   * @throws BlockscaleError `io`
   */
  checkUnchanged?(): Promise<void>;
}

/** Memory given back, to be taken again. */
const spare: ArrayBuffer[] = [];
const MOST_SPARE = 8;
const LEAST_SIZE = 1 << 16;

/**
 * Gives back bytes that nobody will look at again, with all of their buffer. Garbage of this size is
 * collected so late that a few threads would hold hundreds of megabytes of it.
 */
export function giveBack(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (spare.length < MOST_SPARE && buffer.byteLength >= LEAST_SIZE) spare.push(buffer as ArrayBuffer);
}

/** Bytes to be written over, from what was given back if something fits. */
export function takeBytes(size: number): Uint8Array<ArrayBuffer> {
  const i = spare.findIndex(({ byteLength }) => byteLength >= size && byteLength <= 4 * size);
  if (i >= 0) return new Uint8Array(spare.splice(i, 1)[0]!, 0, size);
  // None fits: the oldest belongs to another tensor, and may never be asked for again.
  if (size >= LEAST_SIZE) spare.shift();
  return new Uint8Array(size);
}

/** Memory that was given back, to be handed to another thread. */
export function takeSpare(): ArrayBuffer | undefined {
  return spare.pop();
}

/**
 * Reads the bytes `[start, end)`, or fewer where there are no more.
 * @param into memory to use, where the source can
 */
export async function readBytes(
  source: Source,
  start: number,
  end: number,
  into?: Uint8Array,
): Promise<Uint8Array> {
  if (source.read === undefined) return new Uint8Array(await source.slice(start, end).arrayBuffer());
  const bytes = into ?? takeBytes(end - start);
  return bytes.subarray(0, await source.read(start, bytes));
}

/**
 * Reads exactly the bytes `[start, end)`.
 * @throws BlockscaleError `io`: the range passes the end, reading failed,
 * or gave fewer bytes than there should be.
 */
export async function readRange(
  where: string,
  source: Source,
  start: number,
  end: number,
): Promise<Uint8Array> {
  const fault = (got: string, cause?: unknown) =>
    new BlockscaleError(
      "io",
      {
        where,
        expected: `bytes ${start} to ${end} of ${source.size}`,
        got,
        fix: "Check that the file is complete, readable, and not being changed.",
      },
      { cause },
    );
  if (end > source.size) throw fault("a shorter file");
  let bytes: Uint8Array;
  try {
    bytes = await readBytes(source, start, end);
  } catch (cause) {
    if (cause instanceof BlockscaleError) throw cause;
    throw fault(cause instanceof Error ? cause.message : String(cause), cause);
  }
  if (bytes.length !== end - start) throw fault(`${bytes.length} bytes`);
  return bytes;
}

/** Bytes of the largest text that is read: strings of JavaScript end at half a gigabyte. */
const LARGEST_TEXT = 2 ** 28;

/**
 * A whole file as text, for those that are small: configs, indices, tokenizers.
 * @throws BlockscaleError `io`, `format`: larger than any such file, or no UTF-8
 */
export async function readText(where: string, source: Source): Promise<string> {
  const fix = "The file is damaged, or something else by that name: fetch it again.";
  if (source.size > LARGEST_TEXT) {
    const expected = `a text of at most ${LARGEST_TEXT} bytes`;
    throw new BlockscaleError("format", { where, expected, got: `${source.size} bytes`, fix });
  }
  const bytes = await readRange(where, source, 0, source.size);
  try {
    // Without `fatal`, bytes that are no UTF-8 would become U+FFFD, and be written back as that.
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new BlockscaleError(
      "format",
      { where, expected: "UTF-8 text", got: "other bytes", fix },
      { cause },
    );
  }
}
