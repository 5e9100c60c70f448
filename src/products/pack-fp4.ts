import { bitsOf } from "../js/scale.ts";
import type { CheckedTensor } from "../tensor/checks.ts";
import { FORMAT_ID, SCALE_TYPE_ID, scaleTypeOf, ue8m0Value } from "../tensor/formats.ts";
import { codesOfBits } from "../tensor/sub-byte.ts";
import type { Arena } from "../wasm/arena.ts";
import { BF16_SCALES, MATRIX, matrixRecord } from "../wasm/matrix.ts";
import type { Int8Block } from "./activations.ts";
import { type Allocate, GROUP, type IntegerWeights } from "./pack-integers.ts";

/** The E2M1 code of each E4M3 one that has its value; signs are those of E4M3. */
function nibbleTable(): Uint8Array {
  const table = new Uint8Array(256);
  const asFp8 = codesOfBits(
    "e2m1",
    Uint8Array.from({ length: 16 }, (_, code) => code),
  );
  for (let code = 0; code < 16; code++) table[asFp8[2 * code]!] = code;
  return table;
}

/**
 * FP4 weights, which have become E4M3 codes, half a byte each: see `gemmIntegers` of Kernels.
 * @param block columns of x that share a scale
 */
export function packFp4(
  arena: Arena,
  allocate: Allocate,
  { block: [blockRows, blockCols], codes, scales, grid }: CheckedTensor,
  block: Int8Block,
): IntegerWeights[] {
  const { slices, rows, cols } = grid;
  const nibbles = nibbleTable();
  const blocks = Math.ceil(cols / block);
  const columns = blocks * block;
  const groups = Math.ceil(rows / GROUP);
  const codeBytes = (groups * GROUP * columns) / 2;
  const isBytes = scaleTypeOf(scales) === "ue8m0";
  // Powers of two are exact in bfloat16, halved ones too.
  const scaleBytes = isBytes ? 2 : 4;
  const bytes = codeBytes + scaleBytes * groups * GROUP * blocks;
  const start = allocate(slices * bytes);
  const matrices = allocate(slices * MATRIX.bytes);
  const gridCols = Math.ceil(cols / blockCols);
  const gridRows = Math.ceil(rows / blockRows);
  return Array.from({ length: slices }, (_, slice) => {
    const codesAt = start + slice * bytes;
    const packed = new Uint8Array(arena.buffer, codesAt, codeBytes).fill(0);
    const Multipliers = isBytes ? Uint16Array : Float32Array;
    const multipliers = new Multipliers(arena.buffer, codesAt + codeBytes, groups * GROUP * blocks).fill(0);
    for (let row = 0; row < rows; row++) {
      const group = Math.floor(row / GROUP);
      const from = (slice * rows + row) * cols;
      const first = group * ((GROUP * columns) / 2) + 4 * (row % GROUP);
      for (let k = 0; k < cols; k++) {
        const to = first + (k >> 3) * ((GROUP * 8) / 2) + (k & 3);
        packed[to]! |= nibbles[codes[from + k]!]! << (k & 4);
      }
      const scaleRow = (slice * gridRows + Math.floor(row / blockRows)) * gridCols;
      for (let b = 0; b < blocks; b++) {
        const scale = scales[scaleRow + Math.floor((b * block) / blockCols)]!;
        const multiplier = isBytes ? bitsOf(ue8m0Value(scale) / 2) >>> 16 : scale / 2;
        multipliers[(group * blocks + b) * GROUP + (row % GROUP)] = multiplier;
      }
    }
    const scaleType = isBytes ? BF16_SCALES : SCALE_TYPE_ID.f32;
    const addresses = { codes: codesAt, scales: codesAt + codeBytes };
    const matrix = matrixRecord({
      format: FORMAT_ID.e2m1,
      scaleType,
      ...addresses,
      rows,
      cols,
      blockCols: block,
    });
    MATRIX.write(arena.buffer, matrices + slice * MATRIX.bytes, matrix);
    return { matrixAt: matrices + slice * MATRIX.bytes };
  });
}
