import type { Engine } from "../../engine/engine.ts";
import type { Precision } from "../../engine/precision.ts";
import { FORMATS } from "../../tensor/formats.ts";
import { bytesOfCodes } from "../../tensor/sub-byte.ts";
import type { BlockScaled, Format, Values, ValueType } from "../../tensor/tensor.ts";
import { isPowerOfTwo } from "../read/scales.ts";
import { matrixOf } from "../read/weights.ts";
import { dequantizeRows, type ScaledRows } from "./rows.ts";

// What a strip has lost by its conversion: all values are compared or a sample, none where it is known to be exact.

/** Values of a strip up to which it is measured whole: a sample would cost as much. */
const SMALL = 2 ** 17;

/** In a sample, one row in so many is measured. */
const SAMPLED = 8;

/**
 * Measures some rows that follow one another, from the row of blocks in the middle of a strip on. Every strip
 * of a weight gives as large a share, so that the sample is spread over all of it.
 */
export function compareSample(values: Values, tensor: BlockScaled, engine: Engine): Precision {
  const { format, shape, block, codes, scales } = tensor;
  const { slices, rows, cols } = matrixOf(shape);
  if (slices > 1 || rows * cols <= SMALL) return engine.compare(values, tensor);
  const [blockRows, blockCols] = block;
  const firstBlock = Math.ceil(rows / blockRows) >> 1;
  const first = firstBlock * blockRows;
  const count = Math.min(rows - first, Math.ceil(rows / SAMPLED));
  const scaleCols = Math.ceil(cols / blockCols);
  const [start, end] = [first * cols, (first + count) * cols];
  const sample: BlockScaled = {
    format,
    shape: [count, cols],
    block,
    codes: codes.subarray(bytesOfCodes(format, start), bytesOfCodes(format, end)),
    scales: scales.subarray(firstBlock * scaleCols, (firstBlock + Math.ceil(count / blockRows)) * scaleCols),
  };
  return engine.compare(partOf(values, start, end), sample);
}

/** The values from `start` up to `end`. */
function partOf(values: Values, start: number, end: number): Values {
  return "bits" in values
    ? { type: values.type, bits: values.bits.subarray(start, end) }
    : values.subarray(start, end);
}

/** Exponents of the smallest subnormal number of a type, and of its largest one. */
const TYPE_EXPONENTS = { f32: [-149, 127], bf16: [-133, 127], f16: [-24, 15] } as const;

/**
 * Exponents of power-of-two scales under which every code times its scale is exact in a type. Products are
 * rounded to float32 in any case: for that type, exponents under which none becomes Inf.
 */
function exactExponents(type: ValueType, format: Format): readonly [least: number, most: number] {
  const { emin, emax, mantissaBits } = FORMATS[format];
  const [least, most] = TYPE_EXPONENTS[type];
  return [type === "f32" ? least : least - emin + mantissaBits, most - emax];
}

/** Whether no product is Inf, and rounding it to a type does not change it, as far as the scales can tell. */
export function holdsExactly(type: ValueType, { format, scales, fnuz }: ScaledRows): boolean {
  const isF32 = type === "f32";
  if (fnuz && !isF32) return false;
  const [least, most] = exactExponents(type, format);
  return scales instanceof Uint8Array
    ? scales.every((byte) => byte - 127 >= least && byte - 127 <= most)
    : scales.every((scale) => scale >= 2 ** least && scale <= 2 ** most && (isF32 || isPowerOfTwo(scale)));
}

/** Whether no code times its scale is Inf, as far as the scales can tell. */
export function productsAreFinite({ format, scales }: BlockScaled): boolean {
  const [, most] = exactExponents("f32", format);
  return scales instanceof Uint8Array
    ? scales.every((byte) => byte - 127 <= most)
    : scales.every((scale) => scale <= 2 ** most);
}

/** Compares values with the products of codes and scales in float32, some of which may be Inf already. */
export function measurePlain(rows: ScaledRows, became: Float32Array, engine: Engine): Precision {
  const products = dequantizeRows(rows, "f32", engine) as Float32Array;
  const precision = engine.compare(products, became);
  if (holdsExactly("f32", rows)) return precision;
  const { format, fnuz, codes } = rows;
  const isNumber = (code: number) => (fnuz ? code !== 0x80 : (code & 0x7f) <= FORMATS[format].topCode);
  let overflowed = 0;
  for (let i = 0; i < codes.length; i++) {
    if (!Number.isFinite(products[i]!) && isNumber(codes[i]!)) overflowed++;
  }
  return { ...precision, nonFinite: precision.nonFinite + overflowed };
}
