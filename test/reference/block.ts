import type { Scheme } from "../../src/tensor/schemes.ts";
import type { BlockScaled, Format } from "../../src/tensor/tensor.ts";
import { encodeSaturating, pow2, signBit } from "./binary.ts";
import { decodeCode, FORMAT } from "./cast.ts";
import { decodeScale, largestValue, NAN_SCALE, scaleByte } from "./scale.ts";

/** What a block becomes before its codes are computed: the scale as stored, and as a divisor. */
interface BlockScale {
  readonly stored: number;
  /** NaN for a block that has no finite scale. */
  readonly divisor: number;
}

/** The scale of a block with largest magnitude `amax`, which is NaN or Inf if an element is. */
function blockScale(scheme: Scheme, amax: number): BlockScale {
  const floor = Math.fround(scheme.amaxFloor);
  const poisoned = !Number.isFinite(amax);
  if (scheme.scale === "f32") {
    if (poisoned) return { stored: Number.NaN, divisor: Number.NaN };
    if (amax === 0 && floor === 0) return { stored: decodeScale(scheme.zeroScale), divisor: 1 };
    const largest = largestValue(FORMAT[scheme.format]);
    const s = Math.max(Math.fround(Math.max(amax, floor) / largest), pow2(-126));
    return { stored: s, divisor: s };
  }
  if (poisoned) return { stored: NAN_SCALE, divisor: Number.NaN };
  if (amax === 0) return { stored: scheme.zeroScale, divisor: 1 };
  const byte = scaleByte(scheme.rounding, scheme.format, Math.max(amax, floor));
  return { stored: byte, divisor: decodeScale(byte) };
}

/**
 * The code of one element: the quotient is exact for a power of two, and rounded to float32 for a multiplier.
 */
function elementCode(scheme: Scheme, x: number, divisor: number): number {
  if (Number.isNaN(divisor)) return isSubByte(scheme.format) ? FORMAT[scheme.format].largest : 0x7f;
  const quotient = scheme.scale === "f32" ? Math.fround(x / divisor) : x / divisor;
  return encodeSaturating(FORMAT[scheme.format], quotient);
}

/**
 * The rows and columns of one slice, and how many slices there are: a vector is one row, `[]` one element.
 */
function slicesOf(shape: readonly number[]): { slices: number; rows: number; cols: number } {
  const cols = shape.at(-1) ?? 1;
  const rows = shape.at(-2) ?? 1;
  let slices = 1;
  for (const size of shape.slice(0, -2)) slices *= size;
  return { slices, rows, cols };
}

/** How many blocks a tensor has. Every slice is tiled by itself. */
export function countBlocks(shape: readonly number[], block: readonly [number, number]): number {
  const { slices, rows, cols } = slicesOf(shape);
  return slices * Math.ceil(rows / block[0]) * Math.ceil(cols / block[1]);
}

/** Calls `visit` for every block: its number, and the index of every element in it. */
function forEachBlock(
  shape: readonly number[],
  block: readonly [number, number],
  visit: (blockIndex: number, elements: readonly number[]) => void,
): void {
  const { slices, rows, cols } = slicesOf(shape);
  let blockIndex = 0;
  for (let slice = 0; slice < slices; slice++) {
    for (let top = 0; top < rows; top += block[0]) {
      for (let left = 0; left < cols; left += block[1]) {
        const elements: number[] = [];
        for (let row = top; row < Math.min(top + block[0], rows); row++) {
          for (let col = left; col < Math.min(left + block[1], cols); col++) {
            elements.push((slice * rows + row) * cols + col);
          }
        }
        visit(blockIndex++, elements);
      }
    }
  }
}

/** Whether codes of a format lie in less than a byte. */
const isSubByte = (format: Format) => signBit(FORMAT[format]) < 0x80;

/** Bits of a code, its sign on top. */
const widthOf = (format: Format) => Math.log2(2 * signBit(FORMAT[format]));

/** Codes as a string of bits, the first code and its lowest bit in front, eight of them to a byte from its lowest on. */
export function pack(format: Format, codes: ArrayLike<number>): Uint8Array {
  const width = widthOf(format);
  const bytes = new Uint8Array(Math.ceil((codes.length * width) / 8));
  for (let at = 0; at < codes.length * width; at++) {
    const bit = (codes[Math.floor(at / width)]! >> (at % width)) & 1;
    bytes[at >> 3]! |= bit << (at & 7);
  }
  return bytes;
}

/** The codes of such a string of bits. */
export function unpack(format: Format, bytes: Uint8Array): Uint8Array {
  const width = widthOf(format);
  const codes = new Uint8Array(Math.floor((bytes.length * 8) / width));
  for (let at = 0; at < codes.length * width; at++)
    codes[Math.floor(at / width)]! |= ((bytes[at >> 3]! >> (at & 7)) & 1) << (at % width);
  return codes;
}

/** NVFP4: a float32 for the tensor, an E4M3 for each block, every step rounded to float32. */
function quantizeNvfp4(values: Float32Array, shape: readonly number[], scheme: Scheme): BlockScaled {
  const amaxes: number[] = [];
  forEachBlock(shape, scheme.block, (blockIndex, elements) => {
    amaxes[blockIndex] = elements.reduce((amax, i) => Math.max(amax, Math.abs(values[i]!)), 0);
  });
  const most = Math.max(0, ...amaxes.filter(Number.isFinite));
  const tensorScale = most === 0 ? 1 : Math.max(Math.fround(most / 2688), pow2(-126));
  const codes = new Uint8Array(values.length);
  const scales = new Uint8Array(amaxes.length);
  forEachBlock(shape, scheme.block, (blockIndex, elements) => {
    const amax = amaxes[blockIndex]!;
    if (!Number.isFinite(amax)) {
      // Codes of such a block are zeros: the scale alone says that it is no number.
      scales[blockIndex] = 0x7f;
      return;
    }
    const nearest = encodeSaturating(FORMAT.e4m3, Math.fround(Math.fround(amax / 6) / tensorScale));
    scales[blockIndex] = amax > 0 ? Math.max(1, nearest) : 0;
    const divisor = Math.fround(decodeCode("e4m3", scales[blockIndex]!) * tensorScale);
    if (divisor > 0)
      for (const i of elements) codes[i] = encodeSaturating(FORMAT.e2m1, Math.fround(values[i]! / divisor));
  });
  return { format: "e2m1", shape, block: scheme.block, codes: pack("e2m1", codes), scales, tensorScale };
}

/** Quantises float32 values; two-byte values are widened first. */
export function quantize(values: Float32Array, shape: readonly number[], scheme: Scheme): BlockScaled {
  if (scheme.scale === "e4m3") return quantizeNvfp4(values, shape, scheme);
  const blocks = countBlocks(shape, scheme.block);
  const codes = new Uint8Array(values.length);
  const scales = scheme.scale === "f32" ? new Float32Array(blocks) : new Uint8Array(blocks);
  forEachBlock(shape, scheme.block, (blockIndex, elements) => {
    let amax = 0;
    for (const i of elements) amax = Math.max(amax, Math.abs(values[i] as number)); // NaN stays NaN
    const { stored, divisor } = blockScale(scheme, amax);
    scales[blockIndex] = stored;
    for (const i of elements) codes[i] = elementCode(scheme, values[i] as number, divisor);
  });
  const { format, block } = scheme;
  return { format, shape, block, codes: isSubByte(format) ? pack(format, codes) : codes, scales };
}

/** The float32 value of every element: code * scale, rounded once. */
export function dequantize(tensor: BlockScaled): Float32Array {
  const { format, shape, block, scales, tensorScale } = tensor;
  const codes = isSubByte(format) ? unpack(format, tensor.codes) : tensor.codes;
  const values = new Float32Array(codes.length);
  forEachBlock(shape, block, (blockIndex, elements) => {
    const stored = scales[blockIndex] as number;
    const scale =
      tensorScale !== undefined
        ? Math.fround(decodeCode("e4m3", stored) * tensorScale)
        : scales instanceof Float32Array
          ? stored
          : decodeScale(stored);
    for (const i of elements) values[i] = decodeCode(format, codes[i] as number) * scale;
  });
  return values;
}
