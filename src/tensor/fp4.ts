import type { CheckedTensor } from "./checks.ts";
import { FORMATS, type Format, scaleTypeOf, valueOfCode } from "./formats.ts";

/**
 * E4M3 codes of the sixteen E2M1 codes, whose values they hold: 0,
 * 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives.
 */
const AS_E4M3: readonly number[] = [0, 0x30, 0x38, 0x3c, 0x40, 0x44, 0x48, 0x4c].flatMap((code, i, all) =>
  i === 7 ? [code, ...all.map((magnitude) => magnitude | 0x80)] : [code],
);

/** Two codes of every byte, the lower four bits first. */
export function unpackFp4(packed: Uint8Array, codeOf: readonly number[] = AS_E4M3): Uint8Array<ArrayBuffer> {
  const codes = new Uint8Array(2 * packed.length);
  for (let i = 0; i < packed.length; i++) {
    const byte = packed[i]!;
    codes[2 * i] = codeOf[byte & 15]!;
    codes[2 * i + 1] = codeOf[byte >> 4]!;
  }
  return codes;
}

/** E4M3 codes of E2M1 ones of which each byte holds two of a column, the lower four bits first. */
export function unpackFp4Rows(packed: Uint8Array, cols: number): Uint8Array<ArrayBuffer> {
  const codes = new Uint8Array(2 * packed.length);
  for (let row = 0; row * cols < packed.length; row++) {
    const [upper, lower] = [2 * row * cols, (2 * row + 1) * cols];
    for (let col = 0; col < cols; col++) {
      const byte = packed[row * cols + col]!;
      codes[upper + col] = AS_E4M3[byte & 15]!;
      codes[lower + col] = AS_E4M3[byte >> 4]!;
    }
  }
  return codes;
}

/**
 * Packs E2M1 codes that the kernels write a byte each, sign at bit 7: element 2i into the lower four
 * bits of byte i. NaN, which the kernels mark by all seven bits, becomes 6 with its sign: FP4 has
 * none, and a block of it has NaN as its scale.
 */
export function packFp4(codes: Uint8Array, out: Uint8Array): Uint8Array {
  for (let i = 0; i < out.length; i++) {
    const [low, high] = [codes[2 * i]!, codes[2 * i + 1] ?? 0];
    out[i] = (low & 7) | ((low & 0x80) >> 4) | ((high & 7) << 4) | (high & 0x80);
  }
  return out;
}

/**
 * Multipliers of the blocks of NVFP4: their E4M3 scales times the float32 of the tensor, or divided by it,
 * each rounded once to float32.
 */
export function multipliersOf(
  scales: Uint8Array,
  tensorScale: number,
  divides = false,
): Float32Array<ArrayBuffer> {
  const factor = Math.fround(tensorScale);
  return Float32Array.from(scales, (byte) => {
    const scale = valueOfCode("e4m3", byte);
    return divides ? scale / factor : scale * factor;
  });
}

/** Whether codes of a format lie two to a byte. */
export function isPacked(format: Format): boolean {
  return FORMATS[format].codesPerByte > 1;
}

/** A tensor whose codes take a byte each: E2M1 codes become E4M3 ones, and no value changes. */
export function asFp8(tensor: CheckedTensor): CheckedTensor {
  if (!isPacked(tensor.format)) return tensor;
  const { shape, block, codes, grid, tensorScale } = tensor;
  const scales =
    tensorScale === undefined ? tensor.scales : multipliersOf(tensor.scales as Uint8Array, tensorScale);
  const scaleType = scaleTypeOf(scales);
  return { format: "e4m3", shape, block, codes: unpackFp4(codes), scales, scaleType, grid };
}
