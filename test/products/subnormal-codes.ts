import type { Fp8Format } from "../../src/tensor/tensor.ts";
import { randomWords } from "../support/random.ts";

const LARGEST_SUBNORMAL = { e4m3: 7, e5m2: 3 } as const;

/** Whether a code is subnormal: neither zero nor normal. */
export function isSubnormal(format: Fp8Format, code: number): boolean {
  return (code & 0x7f) > 0 && (code & 0x7f) <= LARGEST_SUBNORMAL[format];
}

/** How many subnormal codes of a row are listed at most: the list takes a sixteenth of what the codes do. */
export const most = (cols: number): number => Math.max(0, Math.floor(cols / 64) - 1);

/** Normal and zero codes, and as many subnormal ones in each row as `counts` says, in turn. */
export function codesWith(
  format: Fp8Format,
  rows: number,
  cols: number,
  counts: readonly number[],
): Uint8Array {
  const words = randomWords(rows * cols + 7, rows * cols);
  const codes = Uint8Array.from(
    words,
    (word) => (word & 0x80) | (word >>> 28 === 0 ? 0 : 8 + ((word >>> 8) % 0x60)),
  );
  for (let row = 0; row < rows; row++) {
    let left = Math.min(cols, counts[row % counts.length]!);
    // From both ends, so that the first and the last column are among them.
    for (let i = 0; left > 0; i++) {
      const column = i % 2 ? cols - 1 - (i >> 1) : (i >> 1) * (left > 20 ? 1 : 3);
      const at = row * cols + (column % cols);
      if (isSubnormal(format, codes[at]!)) continue;
      codes[at] = (1 + (words[at]! % LARGEST_SUBNORMAL[format])) | (words[at]! & 0x80);
      left--;
    }
  }
  return codes;
}

/** Columns around the least that has a list, around vectors, and beyond a step of the kernels. */
export const SIZES = [63, 64, 127, 128, 133, 640, 1030] as const;

/** How many subnormal codes rows have, in turn: none, one, some, the most, one more than that, and all. */
export const countsOf = (cols: number): number[] => [
  0,
  1,
  most(cols) >> 1,
  most(cols),
  most(cols) + 1,
  cols,
  1,
];
