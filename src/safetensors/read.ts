import { readRange, type Source } from "../io/source.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { type Header, headerLength, parseHeader } from "./header.ts";
import { fileKindOf, KIND_BYTES } from "./kinds.ts";

/** Bytes read at first: the header of most files, so that it costs one read. */
const FIRST = 1 << 16;

/**
 * Reads and validates the header of a safetensors file: one small read, or two, whatever the file's size.
 * @param where names the file in errors
 * @throws BlockscaleError `format` or `io`
 */
export async function readHeader(where: string, source: Source): Promise<Header> {
  const first = await readRange(where, source, 0, Math.min(FIRST, source.size));
  try {
    const end = 8 + headerLength(where, first.subarray(0, 8), source.size);
    const bytes = end <= first.length ? first : await withRest(where, source, first, end);
    return parseHeader(where, bytes.subarray(8, end), source.size);
  } catch (error) {
    if (!(error instanceof BlockscaleError) || error.code !== "format") throw error;
    const kind = fileKindOf(first.subarray(0, KIND_BYTES));
    if (kind === null) throw error;
    const { what: got, fix } = kind;
    const expected = source.size === 0 ? error.fault.expected : "a safetensors file";
    throw new BlockscaleError("format", { where, expected, got, fix }, { cause: error });
  }
}

/** The bytes up to `end`. `first` are those that have been read already. */
async function withRest(where: string, source: Source, first: Uint8Array, end: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(end);
  bytes.set(first);
  bytes.set(await readRange(where, source, first.length, end), first.length);
  return bytes;
}
