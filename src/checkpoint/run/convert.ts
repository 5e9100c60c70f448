import type { Engine } from "../../engine/engine.ts";
import { quantizeNvfp4With } from "../../engine/nvfp4.ts";
import { EMPTY_PRECISION, type Precision } from "../../engine/precision.ts";
import { withLoaded } from "../../io/merged-reads.ts";
import { giveBack, type Source, takeBytes } from "../../io/source.ts";
import { quotedTensor } from "../../safetensors/display.ts";
import { checkValues } from "../../tensor/checks.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { scaleValues } from "../../tensor/formats.ts";
import { bytesOfCodes, isSubByte } from "../../tensor/sub-byte.ts";
import type { Values, ValueType } from "../../tensor/tensor.ts";
import type { PlainTarget, Preparation, ScaledTarget, WeightConversion } from "../plan/conversion.ts";
import { spreadScales } from "../plan/keep-codes.ts";
import { type Strip, stripShape } from "../plan/strip.ts";
import { exponentOf } from "../read/scales.ts";
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
import { compareSample, holdsExactly, measurePlain, productsAreFinite } from "./strip-precision.ts";

/** What a strip became: bytes as they go into the file. A plain record whose buffers can be transferred. */
export interface ConvertedStrip {
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
  { from, into }: WeightConversion,
  strip: Strip,
  prepared: Preparation,
  files: readonly Source[],
  engine: Engine,
): Promise<ConvertedStrip> {
  const { keepCodes, loaded = [] } = prepared;
  const sources = withLoaded(files, loaded);
  if (into.kind === "amax") return largest(from, strip, sources, engine);
  if (from.kind === "plain") {
    const bytes = await readPlainRows(from, strip, sources);
    if (into.kind === "plain") return { values: bytes, scales: NO_SCALES, precision: EMPTY_PRECISION };
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
): ConvertedStrip {
  const { block, scale, format } = into.scheme;
  const shape = stripShape(from.shape, strip);
  const blocks = countOf(scaleShape(shape, block));
  const codes = takeBytes(bytesOfCodes(format, countOf(shape)));
  const bytes = new Uint8Array(scale === "f32" ? 0 : blocks);
  const given = tensorScale && { factor: tensorScale, divides: into.tensorScale!.divides };
  const tensor = given
    ? quantizeNvfp4With(engine, values, shape, into.scheme, given, { codes, scales: bytes })
    : engine.quantize(values, shape, into.scheme, {
        out: { codes, scales: scale === "f32" ? new Float32Array(blocks) : bytes },
      });
  const bad =
    tensor.scales instanceof Uint8Array
      ? tensor.scales.indexOf(0xff)
      : tensor.scales.findIndex((scale) => !(scale < Infinity));
  if (bad >= 0) throw notFinite(from, strip, into, bad);
  const isSample = measure === "sample" && productsAreFinite(tensor);
  const precision = isSample ? compareSample(values, tensor, engine) : engine.compare(values, tensor);
  if (precision.nonFinite > 0) throw overflows(from, precision);
  const scales = given ? bytes : scaleBytes(tensor.scales, into);
  return { values: tensor.codes, scales, precision };
}

/** The largest finite magnitude of a strip, as a precision without anything else in it. */
async function largest(
  from: PlainWeight | ScaledWeight,
  strip: Strip,
  sources: readonly Source[],
  engine: Engine,
): Promise<ConvertedStrip> {
  const values =
    from.kind === "plain"
      ? valuesOf(from.type, await readPlainRows(from, strip, sources))
      : dequantizeRows(await readScaledRows(from, strip, sources), "f32", engine);
  return {
    values: NO_SCALES,
    scales: NO_SCALES,
    precision: { ...EMPTY_PRECISION, amax: amaxOf(values as Values) },
  };
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

function toPlain(
  from: ScaledWeight,
  rows: ScaledRows,
  { dtype }: PlainTarget,
  engine: Engine,
): ConvertedStrip {
  const type = valueTypeOf(dtype)!;
  const values = dequantizeRows(rows, type, engine, takeValues(type, rows.codes.length));
  const written = from.transposed ? transpose(values, rows.shape) : values;
  const precision = holdsExactly(type, rows)
    ? { ...EMPTY_PRECISION, count: values.length }
    : measurePlain(rows, widen(type, bytesOf(values), new Float32Array(values.length)), engine);
  return { values: bytesOf(written), scales: NO_SCALES, precision };
}

function takeValues(type: ValueType, count: number): Float32Array | Uint16Array {
  const { buffer } = takeBytes(count * VALUE_BYTES[type]);
  return type === "f32" ? new Float32Array(buffer, 0, count) : new Uint16Array(buffer, 0, count);
}

function bytesOf(values: Float32Array | Uint16Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function withOtherScales(rows: ScaledRows, into: ScaledTarget, engine: Engine): ConvertedStrip {
  const scales = spreadScales(rows.scales, rows.shape, rows.block, into.scheme.block);
  return {
    // Packed codes were read as the E4M3 ones of the same values.
    values: isSubByte(into.scheme.format)
      ? engine.encode(engine.decode(rows.codes, rows.format), into.scheme.format)
      : rows.codes,
    scales: scaleBytes(scales, into),
    precision: { ...EMPTY_PRECISION, count: rows.codes.length },
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
    where: quotedTensor(name),
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
    where: quotedTensor(name),
    expected: "finite values",
    got: `NaN or Inf in the block at row ${row}, column ${column}`,
    fix: "Exclude the tensor, or repair the checkpoint.",
    tensor: name,
    row,
    column,
  });
}
