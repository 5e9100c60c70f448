import type { Engine } from "../../engine/engine.ts";
import { quantizeNvfp4Under } from "../../engine/fp4.ts";
import { NOTHING, type Precision } from "../../engine/precision.ts";
import { giveBack, type Source, takeBytes } from "../../io/source.ts";
import { withLoaded } from "../../io/together.ts";
import { tensorNamed } from "../../safetensors/names.ts";
import { checkValues } from "../../tensor/checks.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { FORMATS, scaleValues } from "../../tensor/formats.ts";
import { type BlockScaled, type Format, gridOf, type Values, type ValueType } from "../../tensor/tensor.ts";
import type { Conversion, PlainTarget, Preparation, ScaledTarget } from "../plan/conversion.ts";
import { spreadScales } from "../plan/keep-codes.ts";
import { type Strip, stripShape } from "../plan/strip.ts";
import { exponentOf, isPowerOfTwo } from "../read/scales.ts";
import { VALUE_BYTES, valuesOf, widen } from "../read/values.ts";
import {
  countOf,
  matrixOf,
  type PlainWeight,
  type ScaledWeight,
  scaleShape,
  valueTypeOf,
} from "../read/weights.ts";
import { dequantizeRows, readPlainRows, readScaledRows, type ScaledRows, transpose } from "./rows.ts";

/** What a strip became: bytes as they go into the file. A plain record whose buffers can be transferred. */
export interface Piece {
  /** Codes, or plain values. */
  readonly values: Uint8Array;
  /** Scales of the strip's blocks; empty for plain values. */
  readonly scales: Uint8Array;
  readonly precision: Precision;
}

const NO_SCALES = new Uint8Array(0);

/**
 * Converts one strip: reads its rows, runs the kernels, measures what was lost.
 * @param prepared what was found out about the whole weight
 * @param files the shards, by index
 * @throws BlockscaleError `dialect`: values that cannot be quantised, scales that make no sense; `io`
 */
export async function convertStrip(
  { from, into }: Conversion,
  strip: Strip,
  prepared: Preparation,
  files: readonly Source[],
  engine: Engine,
): Promise<Piece> {
  const { keepCodes, loaded = [] } = prepared;
  const sources = withLoaded(files, loaded);
  if (into.kind === "amax") return largest(from, strip, sources, engine);
  if (from.kind === "plain") {
    const bytes = await readPlainRows(from, strip, sources);
    if (into.kind === "plain") return { values: bytes, scales: NO_SCALES, precision: NOTHING };
    const piece = quantizeRows(from, strip, valuesOf(from.type, bytes), into, engine, prepared);
    giveBack(bytes);
    return piece;
  }
  const rows = await readScaledRows(from, strip, sources);
  if (keepCodes && into.kind === "scaled") return withOtherScales(rows, into, engine);
  const piece =
    into.kind === "plain"
      ? toPlain(from, rows, into, engine)
      : quantizeRows(
          from,
          strip,
          dequantizeRows(rows, "f32", engine) as Float32Array,
          into,
          engine,
          prepared,
        );
  giveBack(rows.codes);
  return piece;
}

function quantizeRows(
  from: PlainWeight | ScaledWeight,
  strip: Strip,
  values: Values,
  into: ScaledTarget,
  engine: Engine,
  { tensorScale, measure }: Preparation,
): Piece {
  const { block, scale, format } = into.scheme;
  const shape = stripShape(from.shape, strip);
  const blocks = countOf(scaleShape(shape, block));
  const out = {
    codes: takeBytes(countOf(shape) / FORMATS[format].codesPerByte),
    scales: scale === "f32" ? new Float32Array(blocks) : new Uint8Array(blocks),
  };
  const tensor =
    tensorScale === undefined
      ? engine.quantize(values, shape, into.scheme, { out })
      : quantizeAsNvfp4(values, shape, into, engine, tensorScale, out);
  const bad = scaleValues(tensor.scales).findIndex((scale) => !(scale < Infinity));
  if (bad >= 0) throw notFinite(from, strip, into, bad);
  const isSample = measure === "sample" && productsAreFinite(tensor);
  const precision = isSample ? compareSample(values, tensor, engine) : engine.compare(values, tensor);
  if (precision.nonFinite > 0) throw overflows(from, precision);
  const scales = tensorScale === undefined ? scaleBytes(tensor.scales, into) : (out.scales as Uint8Array);
  return { values: tensor.codes, scales, precision };
}

/** Values of a strip up to which it is measured whole: a sample would cost as much. */
const SMALL = 2 ** 17;

/** Rows of which one is measured, in a sample. */
const SAMPLED = 8;

/**
 * Measures some rows that follow one another, from the row of blocks in the middle of a strip on. Every strip
 * of a weight gives as large a share, so that the sample is spread over all of it.
 */
function compareSample(values: Values, tensor: BlockScaled, engine: Engine): Precision {
  const { format, shape, block, codes, scales } = tensor;
  const { slices, rows, cols } = matrixOf(shape);
  if (slices > 1 || rows * cols <= SMALL) return engine.compare(values, tensor);
  const [blockRows, blockCols] = block;
  const firstBlock = Math.ceil(rows / blockRows) >> 1;
  const first = firstBlock * blockRows;
  const count = Math.min(rows - first, Math.ceil(rows / SAMPLED));
  const scaleCols = Math.ceil(cols / blockCols);
  const [start, end] = [first * cols, (first + count) * cols];
  const { codesPerByte } = FORMATS[format];
  const sample: BlockScaled = {
    format,
    shape: [count, cols],
    block,
    codes: codes.subarray(start / codesPerByte, end / codesPerByte),
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

/**
 * Codes and E4M3 scales under a float32 that is settled; the tensor that comes
 * back has the products of both as its scales.
 */
function quantizeAsNvfp4(
  values: Values,
  shape: readonly number[],
  { scheme, tensorScale: meaning }: ScaledTarget,
  engine: Engine,
  tensorScale: number,
  { codes, scales }: { readonly codes: Uint8Array; readonly scales: Uint8Array | Float32Array },
): BlockScaled {
  const { block, format } = scheme;
  const given = { factor: tensorScale, divides: meaning!.divides };
  const multipliers = quantizeNvfp4Under(
    engine,
    checkValues("quantize", values),
    gridOf("quantize", shape, block),
    codes,
    scales as Uint8Array,
    given,
  );
  return { format, shape, block, codes, scales: multipliers };
}

/** The largest finite magnitude of a strip, as a precision without anything else in it. */
async function largest(
  from: PlainWeight | ScaledWeight,
  strip: Strip,
  sources: readonly Source[],
  engine: Engine,
): Promise<Piece> {
  const values =
    from.kind === "plain"
      ? valuesOf(from.type, await readPlainRows(from, strip, sources))
      : dequantizeRows(await readScaledRows(from, strip, sources), "f32", engine);
  return { values: NO_SCALES, scales: NO_SCALES, precision: { ...NOTHING, amax: amaxOf(values as Values) } };
}

/** The largest of the magnitudes, which order as their bits do. */
function amaxOf(values: Values): number {
  const { type, data } = checkValues("quantize", values);
  const bits =
    data instanceof Float32Array ? new Uint32Array(data.buffer, data.byteOffset, data.length) : data;
  const [mask, infinity] =
    type === "f32" ? [0x7fffffff, 0x7f800000] : type === "bf16" ? [0x7fff, 0x7f80] : [0x7fff, 0x7c00];
  let most = 0;
  for (let i = 0; i < bits.length; i++) {
    const magnitude = bits[i]! & mask;
    if (magnitude > most && magnitude < infinity) most = magnitude;
  }
  const found = type === "f32" ? Uint32Array.of(most) : Uint16Array.of(most);
  return widen(type, new Uint8Array(found.buffer), new Float32Array(1))[0]!;
}

function toPlain(from: ScaledWeight, rows: ScaledRows, { dtype }: PlainTarget, engine: Engine): Piece {
  const type = valueTypeOf(dtype)!;
  const values = dequantizeRows(rows, type, engine, takeValues(type, rows.codes.length));
  const turned = from.transposed ? transpose(values, rows.shape) : values;
  const precision = holdsExactly(type, rows)
    ? { ...NOTHING, count: values.length }
    : measure(rows, widen(type, bytesOf(values), new Float32Array(values.length)), engine);
  return { values: bytesOf(turned), scales: NO_SCALES, precision };
}

/** Compares values with the products of codes and scales in float32, some of which may be Inf already. */
function measure(rows: ScaledRows, became: Float32Array, engine: Engine): Precision {
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

function takeValues(type: ValueType, count: number): Float32Array | Uint16Array {
  const { buffer } = takeBytes(count * VALUE_BYTES[type]);
  return type === "f32" ? new Float32Array(buffer, 0, count) : new Uint16Array(buffer, 0, count);
}

/** Exponents of the smallest subnormal number of a type, and of its largest one. */
const TYPE_EXPONENTS = { f32: [-149, 127], bf16: [-133, 127], f16: [-24, 15] } as const;

/**
 * Exponents of power-of-two scales under which every code is exact in a type. Of float32, whose rounding is
 * part of what a product is: under which none becomes Inf.
 */
function exactExponents(type: ValueType, format: Format): readonly [least: number, most: number] {
  const { emin, emax, mantissaBits } = FORMATS[format];
  const [least, most] = TYPE_EXPONENTS[type];
  return [type === "f32" ? least : least - emin + mantissaBits, most - emax];
}

/** Whether no product is Inf, and rounding it to a type does not change it, as far as the scales can tell. */
function holdsExactly(type: ValueType, { format, scales, fnuz }: ScaledRows): boolean {
  const isF32 = type === "f32";
  if (fnuz && !isF32) return false;
  const [least, most] = exactExponents(type, format);
  return scales instanceof Uint8Array
    ? scales.every((byte) => byte - 127 >= least && byte - 127 <= most)
    : scales.every((scale) => scale >= 2 ** least && scale <= 2 ** most && (isF32 || isPowerOfTwo(scale)));
}

/** Whether no code times its scale is Inf, as far as the scales can tell. */
function productsAreFinite({ format, scales }: BlockScaled): boolean {
  const [, most] = exactExponents("f32", format);
  return scaleValues(scales).every((scale) => scale <= 2 ** most);
}

function bytesOf(values: Float32Array | Uint16Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function withOtherScales(rows: ScaledRows, into: ScaledTarget, engine: Engine): Piece {
  const scales = spreadScales(rows.scales, rows.shape, rows.block, into.scheme.block);
  return {
    // E2M1 codes were read as the E4M3 ones of the same values.
    values:
      FORMATS[into.scheme.format].codesPerByte > 1
        ? engine.encode(engine.decode(rows.codes, rows.format), into.scheme.format)
        : rows.codes,
    scales: scaleBytes(scales, into),
    precision: { ...NOTHING, count: rows.codes.length },
  };
}

/** Scales in the dtype of the file: powers of two as UE8M0 bytes, or float32 multipliers. */
function scaleBytes(scales: Uint8Array | Float32Array, { scaleDtype }: ScaledTarget): Uint8Array {
  if (scaleDtype === "F32") {
    return bytesOf(scaleValues(scales));
  }
  return scales instanceof Uint8Array ? scales : Uint8Array.from(scales, (scale) => exponentOf(scale) + 127);
}

/**
 * The error for values so near the end of float32's range that their code times a power-of-two scale is Inf.
 */
function overflows({ name }: PlainWeight | ScaledWeight, { nonFinite }: Precision): BlockscaleError {
  return new BlockscaleError("dialect", {
    where: tensorNamed(name),
    expected: "values that are still finite as code times scale, at most about 3.3e38",
    got: `${nonFinite} of a larger magnitude, which would become Inf`,
    fix: "Exclude the tensor, or repair the checkpoint.",
    tensor: name,
  });
}

function notFinite(
  { name, shape }: PlainWeight | ScaledWeight,
  strip: Strip,
  { scheme }: ScaledTarget,
  scale: number,
): BlockscaleError {
  const { rows, cols } = matrixOf(shape);
  const [blockRows, blockCols] = scheme.block;
  const [scaleRows, scaleCols] = [Math.ceil(rows / blockRows), Math.ceil(cols / blockCols)];
  const slice = strip.slice + Math.floor(scale / scaleCols / scaleRows);
  const row = slice * rows + strip.firstRow + (Math.floor(scale / scaleCols) % scaleRows) * blockRows;
  const column = (scale % scaleCols) * blockCols;
  return new BlockscaleError("dialect", {
    where: tensorNamed(name),
    expected: "finite values",
    got: `NaN or Inf in the block at row ${row}, column ${column}`,
    fix: "Exclude the tensor, or repair the checkpoint.",
    tensor: name,
    row,
    column,
  });
}
