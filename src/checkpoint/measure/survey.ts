import type { Engine } from "../../engine/engine.ts";
import type { WeightConversion } from "../plan/conversion.ts";
import {
  leastCommonMultiple,
  rowsTogether,
  rowUnitOf,
  type Strip,
  sharedStrips,
  stripsOf,
} from "../plan/strip.ts";
import { type ResolveOptions, resolveWeights } from "../read/resolve.ts";
import { countExponents, type ScaleFacts } from "../read/scales.ts";
import { countOf, matrixOf, type PlainWeight, plainShape, type ScaledWeight } from "../read/weights.ts";
import { floatsOf, readRows, type Side } from "./compare.ts";
import {
  addTallies,
  NO_TALLY,
  type StripSample,
  type StripUnderScheme,
  type Tally,
  tally,
  valuesIn,
} from "./sample.ts";

/** The scales of one weight by exponent. */
export interface ScaleCounts extends Pick<ScaleFacts, "minExponent" | "counts"> {
  readonly name: string;
}

/** What a bounded sample of many weights found. */
export interface Survey extends Tally {
  /** Weights in the sample, and of how many. */
  readonly weights: number;
  readonly totalWeights: number;
  readonly values: number;
  readonly totalValues: number;
  /** Whether `after` is of converted values; else it repeats `before`. */
  readonly hasAfter: boolean;
  /** Scales of the strips of the sample, where it has any. */
  readonly scales: readonly ScaleCounts[];
}

/** A weight that may be in the sample. */
export interface SurveyedWeight {
  readonly name: string;
  /** Shape of the values. */
  readonly shape: readonly number[];
  /** The number of rows of a strip is a multiple of this, except where a slice ends. */
  readonly unit: number;
  strips(): Iterable<Strip>;
}

/** Counts the values of one strip of a weight. */
export type StripCounter<S extends SurveyedWeight> = (
  weight: S,
  strip: Strip,
) => Promise<Tally & { readonly exponents?: Int16Array }>;

/** Values of the sample: in all, in one weight, and in one that cannot be cut smaller. */
const [MOST, MOST_EACH, MOST_WHOLE] = [2 ** 25, 2 ** 23, 2 ** 24];

/** Weights of the sample: each costs a request or more, where they are on a server. */
const MOST_WEIGHTS = 1024;

/**
 * Counts the values of a few rows of many weights, both spread evenly: a bounded number of values, however
 * many there are. The same input gives the same result.
 * @throws what counting a strip throws; what the signal was aborted with
 */
async function survey<S extends SurveyedWeight>(
  weights: readonly S[],
  countStrip: StripCounter<S>,
  { ahead, signal }: { readonly ahead: number; readonly signal?: AbortSignal | undefined },
): Promise<Omit<Survey, "hasAfter">> {
  const wanted = Math.min(MOST_WEIGHTS, Math.max(1, weights.length));
  const share = Math.min(MOST_EACH, Math.floor(MOST / wanted));
  const scales: ScaleCounts[] = [];
  let [sum, count, left] = [NO_TALLY, 0, MOST];
  for (const weight of scattered(weights).slice(0, wanted)) {
    signal?.throwIfAborted();
    const { cols } = matrixOf(weight.shape);
    const strips = thinOut(weight, share);
    const size = strips.reduce((n, { rows }) => n + rows * cols, 0);
    if (size === 0 || size > MOST_WHOLE) continue;
    if (size > left) break;
    left -= size;
    count++;
    const exponents: number[] = [];
    for (let i = 0; i < strips.length; i += ahead) {
      const found = await Promise.all(strips.slice(i, i + ahead).map((strip) => countStrip(weight, strip)));
      sum = found.reduce<Tally>(addTallies, sum);
      for (const strip of found) for (const exponent of strip.exponents ?? []) exponents.push(exponent);
    }
    if (exponents.length > 0) {
      scales.push({ name: weight.name, ...countExponents(Int16Array.from(exponents)) });
    }
  }
  return {
    ...sum,
    weights: count,
    totalWeights: weights.length,
    values: valuesIn(sum),
    totalValues: weights.reduce((n, { shape }) => n + countOf(shape), 0),
    scales,
  };
}

/** Several surveys as one. */
export function joinSurveys(surveys: readonly Survey[]): Survey {
  const sum = (field: "weights" | "totalWeights" | "values" | "totalValues") =>
    surveys.reduce((n, survey) => n + survey[field], 0);
  return {
    ...surveys.reduce<Tally>(addTallies, NO_TALLY),
    weights: sum("weights"),
    totalWeights: sum("totalWeights"),
    values: sum("values"),
    totalValues: sum("totalValues"),
    hasAfter: surveys.every(({ hasAfter }) => hasAfter),
    scales: surveys.flatMap(({ scales }) => scales),
  };
}

const GOLDEN = (Math.sqrt(5) - 1) / 2;

/**
 * The items in another order. The first ones of it, however many, are spread evenly over all, and are not of
 * one kind of weight alone.
 */
function scattered<T>(items: readonly T[]): T[] {
  const place = (i: number) => (i * GOLDEN) % 1;
  return items
    .map((item, i) => [place(i), item] as const)
    .sort(([a], [b]) => a - b)
    .map(([, item]) => item);
}

/** Strips of about so many elements together, at least one of the smallest there can be. */
function thinOut({ shape, unit, strips }: SurveyedWeight, elements: number): Strip[] {
  const { rows, cols } = matrixOf(shape);
  const all = [...strips()];
  const least = unit * cols;
  const wanted = Math.max(1, Math.min(all.length, Math.floor(elements / least)));
  const height = Math.max(1, Math.floor(elements / wanted / least)) * unit;
  return Array.from({ length: Math.min(wanted, all.length) }, (_, i) => {
    const strip = all[Math.floor(((i + 0.5) * all.length) / wanted)]!;
    // What is a part of a slice starts at a row of blocks, and may end at any other.
    return strip.rows < rows || isOneSlice(shape) ? { ...strip, rows: Math.min(strip.rows, height) } : strip;
  });
}

function isOneSlice(shape: readonly number[]): boolean {
  return matrixOf(shape).slices === 1;
}

interface Pair extends SurveyedWeight {
  readonly before: PlainWeight | ScaledWeight;
  readonly after: PlainWeight | ScaledWeight;
}

/**
 * Looks at what became of weights: at the same rows on both sides.
 * @param names of the weights to look at
 * @throws BlockscaleError `io`, `dialect`; what the signal was aborted with
 */
export async function surveyPairs(
  [a, b]: readonly [Side, Side],
  names: ReadonlySet<string>,
  engine: Engine,
  { signal, ...options }: ResolveOptions & { readonly signal?: AbortSignal } = {},
): Promise<Survey> {
  const others = new Map(resolveWeights(b.checkpoint, options).map((weight) => [weight.name, weight]));
  const pairs = resolveWeights(a.checkpoint, options).flatMap((before): Pair[] => {
    const after = others.get(before.name);
    if (!names.has(before.name) || before.kind === "other" || !after || after.kind === "other") return [];
    const shape = plainShape(before);
    if (String(shape) !== String(plainShape(after))) return [];
    return [
      {
        name: before.name,
        shape,
        unit: sharedUnit(before, after),
        strips: () => sharedStrips(before, after),
        before,
        after,
      },
    ];
  });
  const countStrip: StripCounter<Pair> = async ({ before, after }, strip) => {
    const [x, y] = await Promise.all([readRows(before, strip, a), readRows(after, strip, b)]);
    return tally(floatsOf(x, engine), floatsOf(y, engine));
  };
  return { ...(await survey(pairs, countStrip, { ahead: 1, signal })), hasAfter: true };
}

/** Rows that are whole blocks of both: all of them, where a weight has to be transposed. */
function sharedUnit(a: PlainWeight | ScaledWeight, b: PlainWeight | ScaledWeight): number {
  const { rows } = matrixOf(plainShape(a));
  const [first, second] = [a, b].map((weight) =>
    weight.kind === "scaled" && weight.transposed ? rows : rowsTogether(weight),
  ) as [number, number];
  return leastCommonMultiple(first, second);
}

interface Planned extends SurveyedWeight {
  readonly conversion: WeightConversion;
}

/**
 * Looks at what conversions to codes and scales make of their weights, without an output to
 * read; of others, at the values as they are.
 * @param sample looks at one strip of a conversion: see sampleStrip
 * @param ahead strips to look at at a time
 */
export async function surveyConversions(
  conversions: readonly WeightConversion[],
  sample: (sampling: StripUnderScheme, conversion: WeightConversion) => Promise<StripSample>,
  ahead = 1,
): Promise<Survey> {
  const weights = conversions.map((conversion): Planned => {
    const { name, shape } = conversion.from;
    return { name, shape, unit: rowUnitOf(conversion), strips: () => stripsOf(conversion), conversion };
  });
  const found = await survey(
    weights,
    ({ conversion }, strip) => {
      const { from, into } = conversion;
      return sample({ weight: from, strip, scheme: into.kind === "scaled" ? into.scheme : null }, conversion);
    },
    { ahead },
  );
  return { ...found, hasAfter: conversions.every(({ into }) => into.kind === "scaled") };
}
