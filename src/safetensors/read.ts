import { readRange, type Source } from "../io/source.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { type Header, headerLength, parseHeader } from "./header.ts";
import { fileKindOf, KIND_BYTES } from "./kinds.ts";

/**
 * Reads and validates the header of a safetensors file: two small reads, whatever the file's size.
 * @param where names the file in errors
 * @throws BlockscaleError `format` or `io`
 */
export async function readHeader(where: string, source: Source): Promise<Header> {
  const prefix = await readRange(where, source, 0, Math.min(8, source.size));
  try {
    const length = headerLength(where, prefix, source.size);
    return parseHeader(where, await readRange(where, source, 8, 8 + length), source.size);
  } catch (error) {
    if (!(error instanceof BlockscaleError) || error.code !== "format") throw error;
    const beginning = await readRange(where, source, 0, Math.min(KIND_BYTES, source.size)).catch(() => null);
    const kind = beginning === null ? null : fileKindOf(beginning);
    if (kind === null) throw error;
    const { what: got, fix } = kind;
    const expected = source.size === 0 ? error.fault.expected : "a safetensors file";
    throw new BlockscaleError("format", { where, expected, got, fix }, { cause: error });
  }
}
