/** Number of the section of a module that lists its imports. */
const IMPORT_SECTION = 2;
const FUNCTION = 0;
const MEMORY = 2;

/**
 * Limits of a memory: shared, with a maximum, which such a memory has
 * to have; 65536 pages as a LEB128 number.
 */
const SHARED = 3;
const MOST_PAGES = [0x80, 0x80, 0x04];

/**
 * A build whose instances can share a memory: the same code, with the memory that it imports said to be
 * shared. (WebAssembly core specification with threads, binary format: import section, limits.)
 */
export function withSharedMemory(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  let at = 8;
  const readNumber = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++]!;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  const skipText = () => {
    const length = readNumber();
    at += length;
  };
  for (;;) {
    const isImports = bytes[at++] === IMPORT_SECTION;
    const sizeAt = at;
    const size = readNumber();
    const start = at;
    if (!isImports) {
      at += size;
      continue;
    }
    for (let left = readNumber(); left > 0; left--) {
      skipText(); // of the module
      skipText(); // of the field
      const kind = bytes[at++];
      if (kind === MEMORY) break;
      if (kind !== FUNCTION) throw new Error("an import that is neither a function nor a memory");
      readNumber();
    }
    const limits = at++;
    readNumber();
    return Uint8Array.from([
      ...bytes.subarray(0, sizeAt),
      ...leb128(size + MOST_PAGES.length),
      ...bytes.subarray(start, limits),
      SHARED,
      ...bytes.subarray(limits + 1, at),
      ...MOST_PAGES,
      ...bytes.subarray(at),
    ]);
  }
}

function leb128(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...leb128(Math.floor(value / 128))];
}
