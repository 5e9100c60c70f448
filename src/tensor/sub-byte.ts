import type { CheckedTensor, Fp8Tensor } from "./checks.ts";
import {
  FORMATS,
  type Format,
  type SubByteFormat,
  scaleTypeOf,
  valueOfCode,
  valuesOfBytes,
} from "./formats.ts";

/** Whether codes of a format take less than a byte. */
export function isSubByte(format: Format): format is SubByteFormat {
  return FORMATS[format].codeBits < 8;
}

/** How many codes fill whole bytes: one of FP8, two of FP4, four of FP6. */
export function codesInWholeBytes(format: Format): number {
  return { 8: 1, 6: 4, 4: 2 }[FORMATS[format].codeBits];
}

/** Bytes that so many codes of a format take, the last one maybe filled in part. */
export function bytesOfCodes(format: Format, count: number): number {
  return Math.ceil((count * FORMATS[format].codeBits) / 8);
}

/** The E4M3 code of a number that is an E4M3 value. */
export function e4m3CodeOf(value: number): number {
  let code = 0;
  while (valueOfCode("e4m3", code) < Math.abs(value)) code++;
  return value < 0 || Object.is(value, -0) ? code | 0x80 : code;
}

const e4m3Tables: Partial<Record<SubByteFormat, readonly number[]>> = {};

/**
 * E4M3 codes of all codes of a format, whose values they hold: every E2M1 and E2M3 value is an E4M3 one. Made
 * when first asked for.
 */
function e4m3Codes(format: SubByteFormat): readonly number[] {
  const signBit = 1 << (FORMATS[format].codeBits - 1);
  e4m3Tables[format] ??= Array.from({ length: 2 * signBit }, (_, code) =>
    e4m3CodeOf(valueOfCode(format, code & signBit ? (code - signBit) | 0x80 : code)),
  );
  return e4m3Tables[format];
}

/** The codes of a format from their bits, one to a byte: E4M3 codes of the same values. */
export function codesOfBits(format: SubByteFormat, packed: Uint8Array): Uint8Array<ArrayBuffer> {
  const codeOf = e4m3Codes(format);
  return FORMATS[format].codeBits === 4 ? unpack4Bits(packed, codeOf) : unpack6Bits(packed, codeOf);
}

/** Two codes of every byte, the lower four bits first, as `codeOf` has them. */
export function unpack4Bits(packed: Uint8Array, codeOf: readonly number[]): Uint8Array<ArrayBuffer> {
  const codes = new Uint8Array(2 * packed.length);
  for (let i = 0; i < packed.length; i++) {
    const byte = packed[i]!;
    codes[2 * i] = codeOf[byte & 15]!;
    codes[2 * i + 1] = codeOf[byte >> 4]!;
  }
  return codes;
}

/**
 * Four codes of every three bytes, the lowest six bits first. What lies beyond the end is neither read nor
 * written.
 */
function unpack6Bits(packed: Uint8Array, codeOf: readonly number[]): Uint8Array<ArrayBuffer> {
  const codes = new Uint8Array(Math.floor((packed.length * 8) / 6));
  for (let i = 0, at = 0; i < codes.length; i += 4, at += 3) {
    const bits = packed[at]! | (packed[at + 1]! << 8) | (packed[at + 2]! << 16);
    codes[i] = codeOf[bits & 63]!;
    codes[i + 1] = codeOf[(bits >> 6) & 63]!;
    codes[i + 2] = codeOf[(bits >> 12) & 63]!;
    codes[i + 3] = codeOf[bits >> 18]!;
  }
  return codes;
}

/**
 * E4M3 codes [2 * rows, cols] of E2M1 codes in bytes [rows, cols]: byte [i, j] holds the codes [2i, j], in
 * its lower four bits, and [2i + 1, j].
 */
export function unpackRowPairs(packed: Uint8Array, cols: number): Uint8Array<ArrayBuffer> {
  const codeOf = e4m3Codes("e2m1");
  const codes = new Uint8Array(2 * packed.length);
  for (let row = 0; row * cols < packed.length; row++) {
    const [first, second] = [2 * row * cols, (2 * row + 1) * cols];
    for (let col = 0; col < cols; col++) {
      const byte = packed[row * cols + col]!;
      codes[first + col] = codeOf[byte & 15]!;
      codes[second + col] = codeOf[byte >> 4]!;
    }
  }
  return codes;
}

/**
 * Packs codes, which the kernels write a byte each with the sign at bit 7, as tensors store them. NaN, which
 * the kernels mark by all seven bits, becomes the largest value with its sign: these formats have no NaN, and
 * a block with it has NaN as its scale. What is left of the last byte is 0.
 */
export function packCodes(format: SubByteFormat, codes: Uint8Array, out: Uint8Array): Uint8Array {
  if (FORMATS[format].codeBits === 4) pack4Bits(codes, out);
  else pack6Bits(codes, out);
  return out;
}

function pack4Bits(codes: Uint8Array, out: Uint8Array): void {
  for (let i = 0; i < out.length; i++) {
    const [low, high] = [codes[2 * i]!, codes[2 * i + 1]!];
    out[i] = (low & 7) | ((low & 0x80) >> 4) | ((high & 7) << 4) | (high & 0x80);
  }
}

function pack6Bits(codes: Uint8Array, out: Uint8Array): void {
  const bitsAt = (i: number) => (codes[i]! & 0x1f) | ((codes[i]! & 0x80) >> 2);
  for (let i = 0, at = 0; at < out.length; i += 4, at += 3) {
    const bits = bitsAt(i) | (bitsAt(i + 1) << 6) | (bitsAt(i + 2) << 12) | (bitsAt(i + 3) << 18);
    out[at] = bits;
    out[at + 1] = bits >> 8;
    out[at + 2] = bits >> 16;
  }
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
  return valuesOfBytes(scales, (byte) => {
    const scale = valueOfCode("e4m3", byte);
    return divides ? scale / factor : scale * factor;
  });
}

/** A tensor whose codes take a byte each: those of less become E4M3 codes, and no value changes. */
export function asFp8(tensor: CheckedTensor): Fp8Tensor {
  const { format, shape, block, codes, grid, tensorScale } = tensor;
  if (!isSubByte(format)) return tensor as Fp8Tensor;
  const scales =
    tensorScale === undefined ? tensor.scales : multipliersOf(tensor.scales as Uint8Array, tensorScale);
  const scaleType = scaleTypeOf(scales);
  return { format: "e4m3", shape, block, codes: codesOfBits(format, codes), scales, scaleType, grid };
}
