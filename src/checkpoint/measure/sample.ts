import type { Engine } from "../../engine/engine.ts";
import { quantizeNvfp4With, type TensorScale } from "../../engine/nvfp4.ts";
import { addPrecisions, EMPTY_PRECISION, type Precision } from "../../engine/precision.ts";
import type { Source } from "../../io/source.ts";
import { scaleTypeOf } from "../../tensor/formats.ts";
import type { Scheme } from "../../tensor/schemes.ts";
import { bytesOfCodes, multipliersOf } from "../../tensor/sub-byte.ts";
import type { BlockScaled } from "../../tensor/tensor.ts";
import { type Strip, stripShape } from "../plan/strip.ts";
import { exponentOf } from "../read/scales.ts";
import { VALUE_BYTES, widen } from "../read/values.ts";
import { countOf, matrixOf, type PlainWeight, type ScaledWeight, scaleShape } from "../read/weights.ts";
import { dequantizeRows, readPlainRows, readScaledRows } from "../run/rows.ts";
import { type ScaleMap, scaleMapOf } from "./scale-map.ts";

/** Some rows of a weight, to be looked at under a scheme; without one, as they are stored. */
export interface StripUnderScheme {
  readonly weight: PlainWeight | ScaledWeight;
  readonly strip: Strip;
  readonly scheme: Scheme | null;
  /** NVFP4: the float32 of the whole weight. Left out, that of these rows alone is taken. */
  readonly tensorScale?: TensorScale;
}

/**
 * Binades counted, one bin each. The first bin also holds everything below 2^FIRST_BINADE, the last one
 * everything above its own binade.
 */
export const FIRST_BINADE: number = -40;
export const BINADES: number = 64;

/**
 * Bins of relative errors, evenly over a range to both sides of 0;
 * what lies outside is in the first and last.
 */
export const ERROR_BINS: number = 65;
/**
 * Errors are counted over each of these ranges, since their size depends on the format; the
 * report shows the smallest that holds 98 %.
 */
const ERROR_RANGES: readonly number[] = [0.0025, 0.08, 0.25, 1];

/** What became of values, counted. Adds up over strips and weights. */
export interface Tally {
  /** Values by binade, floor(log2 |x|), zeros left out: as they were, and as they became. */
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** (converted - value) / value over values that are not 0, for each of {@link ERROR_RANGES}. */
  readonly errors: readonly (readonly number[])[];
  readonly zerosBefore: number;
  readonly zerosAfter: number;
  /** Values that were or became NaN or Inf: they are counted nowhere else. */
  readonly notFinite: number;
}

/** Counts and scales of one strip. */
export interface StripSample extends Tally {
  readonly strip: Strip;
  readonly precision: Precision;
  /** floor(log2(scale)), row by row of blocks; empty where there are no scales. */
  readonly exponents: Int16Array<ArrayBuffer>;
  readonly scaleCols: number;
}

/** A weight under a scheme: what its strips gave, put together. */
export interface Sample extends Omit<StripSample, "strip" | "exponents" | "scaleCols"> {
  readonly scheme: Scheme | null;
  /** Rows looked at, and of how many. */
  readonly rows: number;
  readonly totalRows: number;
  /** Scales as a picture of at most 256 a side, the largest of each patch. */
  readonly map: ScaleMap | null;
}

/** A strip of a weight, and what a scheme makes of it. */
export interface QuantizedStrip {
  readonly values: Float32Array;
  /** `null` without a scheme. */
  readonly tensor: BlockScaled | null;
  /** Scales of the scheme, or as they are stored; empty where there are none. */
  readonly scales: Uint8Array | Float32Array;
  readonly block: readonly [number, number] | null;
}

/**
 * Reads a strip and stores it under a scheme.
 * @throws BlockscaleError `io`, `dialect`
 */
export async function readAndQuantize(
  { weight, strip, scheme, tensorScale: given }: StripUnderScheme,
  sources: readonly Source[],
  engine: Engine,
): Promise<QuantizedStrip> {
  const stored = weight.kind === "scaled" ? await readScaledRows(weight, strip, sources) : null;
  const values =
    stored === null
      ? await plainValues(weight as PlainWeight, strip, sources)
      : (dequantizeRows(stored, "f32", engine) as Float32Array);
  if (scheme === null) {
    return {
      values,
      tensor: null,
      scales: stored?.scales ?? new Uint8Array(0),
      block: stored?.block ?? null,
    };
  }
  const shape = stripShape(weight.shape, strip);
  const tensor =
    given === undefined
      ? engine.quantize(values, shape, scheme)
      : quantizeNvfp4With(engine, values, shape, scheme, given, {
          codes: new Uint8Array(bytesOfCodes(scheme.format, values.length)),
          scales: new Uint8Array(countOf(scaleShape(shape, scheme.block))),
        });
  const { scales, tensorScale } = tensor;
  return {
    values,
    tensor,
    scales: tensorScale === undefined ? scales : multipliersOf(scales as Uint8Array, tensorScale),
    block: scheme.block,
  };
}

/**
 * Reads a strip and tells what a scheme does to its values.
 * @throws BlockscaleError `io`, `dialect`
 */
export async function sampleStrip(
  sampling: StripUnderScheme,
  sources: readonly Source[],
  engine: Engine,
): Promise<StripSample> {
  const { weight, strip } = sampling;
  const { values, tensor, scales, block } = await readAndQuantize(sampling, sources, engine);
  return {
    ...tally(values, tensor === null ? values : engine.dequantize(tensor)),
    strip,
    precision:
      tensor === null ? { ...EMPTY_PRECISION, count: values.length } : engine.compare(values, tensor),
    exponents: exponentsOf(scales),
    scaleCols: block === null ? 0 : Math.ceil(matrixOf(weight.shape).cols / block[1]),
  };
}

async function plainValues(
  weight: PlainWeight,
  strip: Strip,
  sources: readonly Source[],
): Promise<Float32Array> {
  const bytes = await readPlainRows(weight, strip, sources);
  return widen(weight.type, bytes, new Float32Array(bytes.length / VALUE_BYTES[weight.type]));
}

/** Counts what became of values, one by one. */
export function tally(values: Float32Array, converted: Float32Array): Tally {
  const before = new Float64Array(BINADES);
  const after = new Float64Array(BINADES);
  const errors = new Float64Array(ERROR_RANGES.length * ERROR_BINS);
  const steps = ERROR_RANGES.map((range) => ERROR_BINS / 2 / range);
  const x = bitsOf(values);
  const y = bitsOf(converted);
  let zerosBefore = 0;
  let zerosAfter = 0;
  let notFinite = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    const other = converted[i]!;
    // False for NaN too.
    if (!(Math.abs(value) < Infinity && Math.abs(other) < Infinity)) {
      notFinite++;
      continue;
    }
    if (other === 0) zerosAfter++;
    else after[binOf(y[i]!)]!++;
    if (value === 0) {
      zerosBefore++;
      continue;
    }
    before[binOf(x[i]!)]!++;
    const error = (other - value) / value;
    for (let r = 0; r < steps.length; r++) {
      const place = error * steps[r]! + ERROR_BINS / 2;
      const bin = place < 0 ? 0 : place < ERROR_BINS ? place | 0 : ERROR_BINS - 1;
      errors[r * ERROR_BINS + bin]!++;
    }
  }
  return {
    before: [...before],
    after: [...after],
    errors: ERROR_RANGES.map((_, r) => [...errors.subarray(r * ERROR_BINS, (r + 1) * ERROR_BINS)]),
    zerosBefore,
    zerosAfter,
    notFinite,
  };
}

/** The counts of nothing. */
export const NO_TALLY: Tally = tally(new Float32Array(0), new Float32Array(0));

/** The counts of two parts together. */
export function addTallies(a: Tally, b: Tally): Tally {
  const sum = (x: readonly number[], y: readonly number[]) => x.map((n, i) => n + y[i]!);
  return {
    before: sum(a.before, b.before),
    after: sum(a.after, b.after),
    errors: a.errors.map((counts, r) => sum(counts, b.errors[r]!)),
    zerosBefore: a.zerosBefore + b.zerosBefore,
    zerosAfter: a.zerosAfter + b.zerosAfter,
    notFinite: a.notFinite + b.notFinite,
  };
}

/** Number of values in a tally. */
export function valuesIn({ before, zerosBefore, notFinite }: Tally): number {
  return before.reduce((a, b) => a + b, zerosBefore + notFinite);
}

/** A histogram of relative errors. */
export interface ErrorHistogram {
  /** The bins lie evenly over [-range, range]; larger errors are in the first and last. */
  readonly range: number;
  readonly counts: readonly number[];
}

/** Share of errors that may lie beyond the range shown. */
const BEYOND = 0.02;

/** The histogram over the smallest range that nearly all errors lie in. */
export function errorHistogram({ errors }: Pick<Tally, "errors">): ErrorHistogram {
  const total = errors[0]!.reduce((a, b) => a + b, 0);
  const found = errors.findIndex((counts) => counts[0]! + counts.at(-1)! <= BEYOND * total);
  const r = found < 0 ? errors.length - 1 : found;
  return { range: ERROR_RANGES[r]!, counts: errors[r]! };
}

function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/** Bin of a float32 by its exponent field; subnormal values count as the smallest. */
function binOf(bits: number): number {
  const binade = ((bits >>> 23) & 0xff) - 127 - FIRST_BINADE;
  return binade < 0 ? 0 : binade >= BINADES ? BINADES - 1 : binade;
}

function exponentsOf(scales: Uint8Array | Float32Array): Int16Array<ArrayBuffer> {
  if (scaleTypeOf(scales) === "ue8m0") return Int16Array.from(scales, (byte) => byte - 127);
  return Int16Array.from(scales, (scale) => (scale > 0 ? exponentOf(scale) : -127));
}

/** Puts the strips of one weight together, in the order of its rows. */
export function joinSamples(
  { shape }: PlainWeight | ScaledWeight,
  scheme: Scheme | null,
  block: readonly [number, number] | null,
  strips: readonly StripSample[],
): Sample {
  const { slices, rows } = matrixOf(shape);
  return {
    scheme,
    rows: strips.reduce((n, { strip }) => n + strip.rows, 0),
    totalRows: slices * rows,
    ...strips.reduce<Tally>(addTallies, NO_TALLY),
    precision: strips.reduce((sum, { precision }) => addPrecisions(sum, precision), EMPTY_PRECISION),
    map: block === null ? null : scaleMapOf(strips, shape, block),
  };
}
