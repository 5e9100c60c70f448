import { BlockscaleError } from "../errors.ts";

/**
 * Bytes that can be read from any place: a `Blob` or `File` is one, and so are `Bun.file`, the range-reading
 * blobs of `@huggingface/hub`, and what `openFile` of `blockscale/node` gives.
 */
export interface Source {
  /** In bytes. */
  readonly size: number;
  /** The bytes `[start, end)`, read when `arrayBuffer` is called. */
  slice(start: number, end: number): { arrayBuffer(): Promise<ArrayBuffer> };
}

/**
 * Reads exactly the bytes `[start, end)`.
 * @throws BlockscaleError `io`: the range passes the end, reading failed, or gave fewer bytes than there should be.
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
    bytes = new Uint8Array(await source.slice(start, end).arrayBuffer());
  } catch (cause) {
    if (cause instanceof BlockscaleError) throw cause;
    throw fault(cause instanceof Error ? cause.message : String(cause), cause);
  }
  if (bytes.length !== end - start) throw fault(`${bytes.length} bytes`);
  return bytes;
}
