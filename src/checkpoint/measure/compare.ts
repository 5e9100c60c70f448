import type { Engine } from "../../engine/engine.ts";
import { add, cosine, NOTHING, type Precision } from "../../engine/precision.ts";
import { inOrder, settled } from "../../io/concurrency.ts";
import type { Source } from "../../io/source.ts";
import { type Strip, sharedStrips } from "../plan/strip.ts";
import type { Checkpoint } from "../read/checkpoint.ts";
import { type ResolveOptions, resolve } from "../read/resolve.ts";
import { widen } from "../read/values.ts";
import { matrixOf, type PlainWeight, plainShape, type ScaledWeight, type Weight } from "../read/weights.ts";
import { dequantizeRows, readPlainRows, readScaledRows, type ScaledRows, transpose } from "../run/rows.ts";
import { inFigures, type PrecisionSummary } from "./summary.ts";

/** A checkpoint and the bytes of its shards. */
export interface Side {
  readonly checkpoint: Checkpoint;
  readonly sources: readonly Source[];
}

/** The block in which two tensors differ most, relative to what is in it. */
export interface WorstBlock {
  /** First row and column; rows count on over the slices of a stack. */
  readonly row: number;
  readonly col: number;
  /**
   * Sum of squared errors over sum of squared values; Infinity where zeros, NaN or Inf became something else.
   */
  readonly noiseToSignal: number;
}

/** One tensor of A compared with that of the same name in B. */
export interface ComparedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /**
   * `differs`: the shapes do not match. `not compared`: no numbers,
   * codes nobody knows, scales of activations.
   */
  readonly status: "compared" | "only in A" | "only in B" | "differs" | "not compared";
  readonly precision: (PrecisionSummary & { readonly cosine: number }) | null;
  readonly worstBlock: WorstBlock | null;
}

export interface CompareOptions extends ResolveOptions {
  readonly signal?: AbortSignal;
  readonly onTensor?: (tensor: ComparedTensor) => void;
  /** Compares strips; in this thread if left out. */
  readonly compare?: StripComparer;
  /** Strips under way at a time; 1 if left out. */
  readonly ahead?: number;
}

/**
 * Holds the values of one checkpoint against those of another,
 * whatever their dialects. A counts as the truth.
 * @throws BlockscaleError `dialect`, `io`; what the signal was aborted with
 */
export async function compareCheckpoints(
  a: Side,
  b: Side,
  engine: Engine,
  options: CompareOptions = {},
): Promise<ComparedTensor[]> {
  const [ofA, ofB] = [resolve(a.checkpoint, options), resolve(b.checkpoint, options)];
  const [weights, otherWeights] = [ofA.weights, ofB.weights];
  const others = new Map(otherWeights.map((weight) => [weight.name, weight]));
  // Scales of activations are no weights, and conversions drop them.
  const useless = new Set([...ofA.strays, ...ofB.strays]);
  const onOneSide = (weight: Weight, status: "only in A" | "only in B") =>
    notCompared(weight, useless.has(weight.name) ? "not compared" : status);
  const sources = [a.sources, b.sources] as const;
  const { ahead = 1, signal } = options;
  const compare = limited(
    options.compare ?? ((pair, strip) => compareStrip(pair, strip, sources, engine)),
    ahead,
    signal,
  );
  function* outcomes() {
    for (const weight of weights) yield outcomeOf(weight);
  }
  const compared: ComparedTensor[] = [];
  const tell = (tensor: ComparedTensor) => {
    compared.push(tensor);
    options.onTensor?.(tensor);
  };
  const outcomeOf = async (weight: Weight): Promise<ComparedTensor> => {
    const other = others.get(weight.name);
    others.delete(weight.name);
    if (other === undefined) return onOneSide(weight, "only in A");
    if (weight.kind === "other" || other.kind === "other") return notCompared(weight, "not compared");
    if (String(plainShape(weight)) !== String(plainShape(other))) return notCompared(weight, "differs");
    return compareWeights(weight, other, compare);
  };
  // Small weights are one strip each: several are under way, and told in order.
  for await (const tensor of inOrder(outcomes(), ahead, signal)) tell(tensor);
  for (const weight of others.values()) tell(onOneSide(weight, "only in B"));
  return compared;
}

/** Limits how many strips are compared at a time, whichever weights they are of. */
function limited(compare: StripComparer, most: number, signal: AbortSignal | undefined): StripComparer {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (pair, strip) => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      signal?.throwIfAborted();
      return await compare(pair, strip);
    } finally {
      const next = waiting.shift();
      if (next === undefined) running--;
      else next();
    }
  };
}

function notCompared(weight: Weight, status: ComparedTensor["status"]): ComparedTensor {
  const shape = weight.kind === "other" ? weight.tensor.shape : plainShape(weight);
  return { name: weight.name, shape, status, precision: null, worstBlock: null };
}

/** A weight of A and that of the same name in B: a plain record. */
export interface Pair {
  readonly weights: readonly [PlainWeight | ScaledWeight, PlainWeight | ScaledWeight];
}

/** Figures of one strip of both weights: a plain record. */
export interface StripComparison {
  readonly precision: Precision;
  /** Rows and columns count from the strip on. */
  readonly worst: WorstBlock | null;
}

/** Compares one strip: in this thread, or by asking a worker. */
export type StripComparer = (pair: Pair, strip: Strip) => Promise<StripComparison>;

/** Compares one strip in this thread. @param sources of the shards of A and of B */
export async function compareStrip(
  { weights: [weight, other] }: Pair,
  strip: Strip,
  sources: readonly [readonly Source[], readonly Source[]],
  engine: Engine,
): Promise<StripComparison> {
  const [x, y] = await Promise.all([
    readRows(weight, strip, { sources: sources[0] }, engine),
    readRows(other, strip, { sources: sources[1] }, engine),
  ]);
  const { rows, cols } = matrixOf(plainShape(weight));
  const block =
    other.kind === "scaled" ? other.block : weight.kind === "scaled" ? weight.block : ([128, 128] as const);
  return {
    precision: compareRows(x.values, y, engine),
    worst: worstBlockOf(x.values, y.values, [rows, cols], block),
  };
}

async function compareWeights(
  weight: PlainWeight | ScaledWeight,
  other: PlainWeight | ScaledWeight,
  compare: StripComparer,
): Promise<ComparedTensor> {
  const shape = plainShape(weight);
  const { rows } = matrixOf(shape);
  const pair: Pair = { weights: [weight, other] };
  const strips = [...sharedStrips(weight, other)];
  const found = await settled(strips.map((strip) => compare(pair, strip)));
  let precision = NOTHING;
  let worst: WorstBlock | null = null;
  for (const [i, strip] of strips.entries()) {
    const { precision: part, worst: block } = found[i]!;
    precision = add(precision, part);
    if (block !== null && (worst === null || block.noiseToSignal > worst.noiseToSignal))
      worst = { ...block, row: block.row + strip.slice * rows + strip.firstRow };
  }
  return {
    name: weight.name,
    shape,
    status: "compared",
    precision: { ...inFigures(precision), cosine: cosine(precision) },
    worstBlock: worst,
  };
}

/** Rows of a weight as float32. */
export interface Rows {
  readonly values: Float32Array;
  /** Where the codes are in the order of the values, and mean what the engine takes them for. */
  readonly tensor: ScaledRows | null;
}

/** Compares rows. Saturated values can only be counted by codes. */
function compareRows(values: Float32Array, became: Rows, engine: Engine): Precision {
  return engine.compare(values, became.tensor ?? became.values);
}

/** The values of a strip, in the order of plain values. */
export async function readRows(
  weight: PlainWeight | ScaledWeight,
  strip: Strip,
  side: Pick<Side, "sources">,
  engine: Engine,
): Promise<Rows> {
  if (weight.kind === "plain") {
    const bytes = await readPlainRows(weight, strip, side.sources);
    const values = widen(weight.type, bytes, new Float32Array(strip.rows * matrixOf(weight.shape).cols));
    return { values, tensor: null };
  }
  // Slices of a transposed weight are read whole: their own rows are the columns of the strip.
  const { rows: height, cols: width } = matrixOf(weight.shape);
  const own = weight.transposed ? { ...strip, rows: (strip.rows / width) * height } : strip;
  const rows = await readScaledRows(weight, own, side.sources);
  const values = dequantizeRows(rows, "f32", engine) as Float32Array;
  return weight.transposed
    ? { values: transpose(values, rows.shape), tensor: null }
    : { values, tensor: rows.fnuz ? null : rows };
}

function worstBlockOf(
  x: Float32Array,
  y: Float32Array,
  [rows, cols]: readonly [number, number],
  [blockRows, blockCols]: readonly [number, number],
): WorstBlock | null {
  // Several slices are whole.
  const height = Math.min(rows, x.length / cols);
  const down = Math.ceil(height / blockRows);
  const across = Math.ceil(cols / blockCols);
  const count = (x.length / cols / height) * down * across;
  const signal = new Float64Array(count);
  const noise = new Float64Array(count);
  for (let i = 0, row = 0; i < x.length; row++) {
    const first = (Math.floor(row / height) * down + Math.floor((row % height) / blockRows)) * across;
    for (let b = 0, left = cols; b < across; b++, left -= blockCols) {
      const end = i + Math.min(left, blockCols);
      let power = 0;
      let errors = 0;
      for (let j = i; j < end; j++) {
        const value = x[j]!;
        const error = value - y[j]!;
        power += value * value;
        errors += error * error;
      }
      if (Number.isNaN(errors)) {
        // NaN and Inf that are the same on both sides are no noise.
        power = 0;
        errors = 0;
        for (let j = i; j < end; j++) {
          if (!Number.isFinite(x[j]) && Object.is(x[j], y[j])) continue;
          power += x[j]! ** 2;
          errors += (x[j]! - y[j]!) ** 2;
        }
      }
      i = end;
      signal[first + b]! += power;
      noise[first + b]! += errors;
    }
  }
  let worst: WorstBlock | null = null;
  for (let at = 0; at < count; at++) {
    if (noise[at] === 0) continue;
    // Whatever is not finite makes the noise so.
    const noiseToSignal = noise[at]! < Infinity ? noise[at]! / signal[at]! : Infinity;
    if (worst === null || noiseToSignal > worst.noiseToSignal) {
      const [slice, inSlice] = [Math.floor(at / across / down), Math.floor(at / across) % down];
      const [row, col] = [slice * height + inSlice * blockRows, (at % across) * blockCols];
      worst = { row, col, noiseToSignal };
    }
  }
  return worst;
}
