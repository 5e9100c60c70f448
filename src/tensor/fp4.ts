import { checkTensor } from "./checks.ts";
import { valueOfCode } from "./formats.ts";
import type { BlockScaled } from "./tensor.ts";

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
 * Multipliers of the blocks of NVFP4: their E4M3 scales times that of the
 * tensor, each rounded once to float32.
 */
export function multipliersOf(scales: Uint8Array, tensorScale: number): Float32Array<ArrayBuffer> {
  const factor = Math.fround(tensorScale);
  return Float32Array.from(scales, (byte) => valueOfCode("e4m3", byte) * factor);
}

/**
 * Whether an operand of a product is a record of E2M1 codes, which
 * products take as E4M3 ones of the same values.
 */
export function isFp4(operand: unknown): operand is BlockScaled {
  const { format, codes } = (operand ?? {}) as { format?: unknown; codes?: unknown };
  return format === "e2m1" && codes !== undefined;
}

/**
 * A block-scaled tensor with E4M3 codes, if it has E2M1 ones: no value changes.
 * @throws BlockscaleError as {@link checkTensor}
 */
export function asFp8(where: string, tensor: BlockScaled): BlockScaled {
  if (tensor?.format !== "e2m1") return tensor;
  checkTensor(where, tensor);
  const { shape, block, codes, scales, tensorScale } = tensor;
  const multipliers = tensorScale === undefined ? scales : multipliersOf(scales as Uint8Array, tensorScale);
  return { format: "e4m3", shape, block, codes: unpackFp4(codes), scales: multipliers };
}
