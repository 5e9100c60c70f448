import type { Engine } from "../../engine/engine.ts";
import { addPrecisions, cosine, EMPTY_PRECISION, type Precision } from "../../engine/precision.ts";
import { inOrder, settled } from "../../io/concurrency.ts";
import { mergeReads } from "../../io/merged-reads.ts";
import { giveBack, type Source } from "../../io/source.ts";
import { checkKnown } from "../../tensor/options.ts";
import type { Values, ValueType } from "../../tensor/tensor.ts";
import { type Strip, sharedStrips } from "../plan/strip.ts";
import { type Checkpoint, checkCheckpoint } from "../read/checkpoint.ts";
import { type ResolveOptions, resolve } from "../read/resolve.ts";
import { VALUE_BYTES, valuesOf, widen } from "../read/values.ts";
import {
  matrixOf,
  type PlainWeight,
  plainShape,
  type ScaledWeight,
  storedTensorsOf,
  type Weight,
} from "../read/weights.ts";
import { checkEngine } from "../run/check.ts";
import { dequantizeRows, readPlainRows, readScaledRows, type ScaledRows, transpose } from "../run/rows.ts";
import { type PrecisionSummary, summaryOf } from "./summary.ts";
import {
  areGroupsWhole,
  groupSumsLength,
  type WorstBlock,
  worstBlockOf,
  worstOfGroups,
} from "./worst-block.ts";

/** A checkpoint and the bytes of its shards. */
export interface Side {
  readonly checkpoint: Checkpoint;
  readonly sources: readonly Source[];
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
 * Compares the values of two checkpoints, whatever their dialects. A is the original, and errors are measured
 * relative to it.
 * @throws BlockscaleError `dialect`, `io`; what the signal was aborted with
 */
export async function compareCheckpoints(
  a: Side,
  b: Side,
  engine: Engine,
  options: CompareOptions = {},
): Promise<ComparedTensor[]> {
  checkKnown("compareCheckpoints", options, ["missingScale", "signal", "onTensor", "compare", "ahead"]);
  for (const [name, side] of Object.entries({ a, b }))
    checkCheckpoint(`compareCheckpoints: ${name}.checkpoint`, side?.checkpoint);
  checkEngine("compareCheckpoints", engine);
  const [ofA, ofB] = [resolve(a.checkpoint, options), resolve(b.checkpoint, options)];
  const [weights, otherWeights] = [ofA.weights, ofB.weights];
  const others = new Map(otherWeights.map((weight) => [weight.name, weight]));
  // Scales of activations are no weights, and conversions drop them.
  const quantizationExtras = new Set([...ofA.quantizationExtras, ...ofB.quantizationExtras]);
  const onOneSide = (weight: Weight, status: "only in A" | "only in B") =>
    notCompared(weight, quantizationExtras.has(weight.name) ? "not compared" : status);
  const { ahead = 1, signal } = options;
  const merged = ({ sources }: Side, all: readonly Weight[]) =>
    mergeReads(sources, all.flatMap(storedTensorsOf));
  const localComparer = (): StripComparer => {
    const sources = [merged(a, weights), merged(b, otherWeights)] as const;
    return (pair, strip) => compareStrip(pair, strip, sources, engine);
  };
  const compare = limited(options.compare ?? localComparer(), ahead, signal);
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
  /** Its row counts from the strip's first row on. */
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
    readRows(weight, strip, { sources: sources[0] }),
    readRows(other, strip, { sources: sources[1] }),
  ]);
  const { rows, cols } = matrixOf(plainShape(weight));
  const count = strip.rows * cols;
  const block =
    other.kind === "scaled" ? other.block : weight.kind === "scaled" ? weight.block : ([128, 128] as const);
  // No await from here on: other strips write over the same floats.
  const made: [Float32Array?, Float32Array?] = [];
  const floats = (side: 0 | 1) => (made[side] ??= floatsOf([x, y][side]!, engine, bufferFor(side, count)));
  const theirs = asStored(y) ?? floats(1);
  const stored = asStored(x);
  // The engine takes one tensor at most as it is.
  const values = stored === null || ("codes" in stored && "codes" in theirs) ? floats(0) : stored;
  // The engine refuses groups of values that cut blocks of either side.
  const areWhole =
    areGroupsWhole(cols, block[1]) && (!("codes" in values) || areGroupsWhole(cols, values.block[1]));
  const groupSums = areWhole ? groupSumsBufferFor(groupSumsLength(count)) : undefined;
  const precision = engine.compare(values, theirs, groupSums === undefined ? {} : { groupSums });
  const worst =
    groupSums !== undefined && precision.nonFinite === 0
      ? worstOfGroups(groupSums, [rows, cols], block)
      : worstBlockOf(floats(0), floats(1), [rows, cols], block);
  for (const read of [x, y]) giveBack(read.kind === "plain" ? read.bytes : read.rows.codes);
  return { precision, worst };
}

/** Rows as the engine compares them; `null` where it has to have their values in another order or format. */
function asStored(read: Rows): Values | ScaledRows | null {
  if (read.kind === "plain") return valuesOf(read.type, read.bytes);
  return read.transposed || read.rows.fnuz ? null : read.rows;
}

/** Elements of the largest buffer that is kept. */
const LARGEST_BUFFER = 1 << 22;
/** Buffers for the floats of a strip of A and of B: allocating one costs as much as filling it. */
const buffers: [Float32Array, Float32Array] = [new Float32Array(0), new Float32Array(0)];

function bufferFor(side: 0 | 1, count: number): Float32Array | undefined {
  if (count > LARGEST_BUFFER) return undefined;
  if (buffers[side].length < count) buffers[side] = new Float32Array(count);
  return buffers[side].subarray(0, count);
}

let groupSumsBuffer = new Float64Array(0);

function groupSumsBufferFor(count: number): Float64Array {
  if (count > LARGEST_BUFFER / 8) return new Float64Array(count);
  if (groupSumsBuffer.length < count) groupSumsBuffer = new Float64Array(count);
  return groupSumsBuffer.subarray(0, count);
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
  let precision = EMPTY_PRECISION;
  let worst: WorstBlock | null = null;
  for (const [i, strip] of strips.entries()) {
    const { precision: part, worst: block } = found[i]!;
    precision = addPrecisions(precision, part);
    if (block !== null && (worst === null || block.noiseToSignal > worst.noiseToSignal))
      worst = { ...block, row: block.row + strip.slice * rows + strip.firstRow };
  }
  return {
    name: weight.name,
    shape,
    status: "compared",
    precision: { ...summaryOf(precision), cosine: cosine(precision) },
    worstBlock: worst,
  };
}

/** Rows of a weight as they are stored. */
export type Rows =
  | { readonly kind: "plain"; readonly type: ValueType; readonly bytes: Uint8Array }
  | {
      readonly kind: "scaled";
      readonly rows: ScaledRows;
      /** Whether plain values lie along the other side of the matrix. */
      readonly transposed: boolean;
    };

/** Reads a strip, whose rows are counted in the order of plain values. */
export async function readRows(
  weight: PlainWeight | ScaledWeight,
  strip: Strip,
  { sources }: Pick<Side, "sources">,
): Promise<Rows> {
  if (weight.kind === "plain")
    return { kind: "plain", type: weight.type, bytes: await readPlainRows(weight, strip, sources) };
  // Slices of a transposed weight are read whole: their own rows are the columns of the strip.
  const { rows: height, cols: width } = matrixOf(weight.shape);
  const own = weight.transposed ? { ...strip, rows: (strip.rows / width) * height } : strip;
  return {
    kind: "scaled",
    rows: await readScaledRows(weight, own, sources),
    transposed: weight.transposed,
  };
}

/** The values of rows, in the order of plain values. @param out memory for them, which may be used or not */
export function floatsOf(read: Rows, engine: Engine, out?: Float32Array): Float32Array {
  if (read.kind === "plain") {
    const { type, bytes } = read;
    return widen(type, bytes, out ?? new Float32Array(bytes.length / VALUE_BYTES[type]));
  }
  const { rows, transposed } = read;
  const values = dequantizeRows(rows, "f32", engine, out) as Float32Array;
  return transposed ? transpose(values, rows.shape) : values;
}
