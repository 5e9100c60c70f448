import { readRange } from "../../io/source.ts";
import { createChecksum } from "./checksum.ts";
import { PageError } from "./problem.ts";
import type { NamedFile } from "./protocol.ts";

/**
 * Bytes taken at the start of a file, where the header is, and at each of the places spread over the rest.
 */
const HEAD = 1 << 16;
const PROBE = 1 << 12;
const PROBES = 32;

/**
 * A short stand-in for the contents of a file: its size, its first bytes, and some from all over it. Not
 * every browser notices that a file was rewritten: Firefox goes on, and reads the new bytes.
 */
export async function sampleHashOf({ path, file }: NamedFile): Promise<string> {
  const checksum = await createChecksum();
  checksum.update(new TextEncoder().encode(String(file.size)));
  const take = async (start: number, length: number) => {
    const end = Math.min(file.size, start + length);
    if (start < end) checksum.update(await readRange(path, file, start, end));
  };
  await take(0, HEAD);
  for (let i = 1; i <= PROBES; i++) {
    await take(Math.max(HEAD, Math.floor((file.size / PROBES) * i) - PROBE), PROBE);
  }
  return checksum.digest();
}

/**
 * Refuses files that are no longer what they were.
 * @throws PageError `changed`
 */
export async function refuseChanged(
  files: readonly NamedFile[],
  sampleHashes: ReadonlyMap<string, string>,
): Promise<void> {
  for (const named of files) {
    if ((await sampleHashOf(named)) === sampleHashes.get(named.path)) continue;
    throw new PageError("changed", `${named.path}: its contents are not those of the file that was opened.`);
  }
}
