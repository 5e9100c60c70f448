import { readRange, type Source } from "../io/source.ts";
import { type Header, headerLength, parseHeader } from "./header.ts";

/**
 * Reads and validates the header of a safetensors file: two small reads, whatever the file's size.
 * @param where names the file in errors
 * @throws BlockscaleError `format` or `io`
 */
export async function readHeader(where: string, source: Source): Promise<Header> {
  const prefix = await readRange(where, source, 0, Math.min(8, source.size));
  const length = headerLength(where, prefix, source.size);
  return parseHeader(where, await readRange(where, source, 8, 8 + length), source.size);
}
