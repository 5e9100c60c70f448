import { createXXHash64 } from "hash-wasm";

/** A checksum of bytes that arrive in pieces. */
export interface Checksum {
  update(bytes: Uint8Array): void;
  /** The hash so far in hexadecimal, as `xxhsum -H1` prints it. */
  digest(): string;
}

/** XXH64: several gigabytes a second, so that reading everything back costs little more than the reading. */
export async function createChecksum(): Promise<Checksum> {
  const hasher = await createXXHash64();
  hasher.init();
  return {
    update: (bytes) => void hasher.update(bytes),
    digest: () => hasher.digest("hex"),
  };
}
