import { type ComparedTensor, compareCheckpoints, type Side } from "../checkpoint/measure/compare.ts";
import { openCheckpoint } from "../checkpoint/plan/folder.ts";
import { type Pipeline, pipelineOf } from "../checkpoint/plan/pipeline.ts";
import type { Engine } from "../engine/engine.ts";
import { startComparing } from "../jobs/threads.ts";
import { load } from "../load.ts";
import { reportPage } from "../report/page.ts";
import { quotedTensor } from "../safetensors/display.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import * as figures from "./figures.ts";
import { type Input, openInput } from "./input.ts";
import { throwIfInterrupted } from "./interruption.ts";
import { print, printJson } from "./print.ts";
import {
  type Prefixed,
  type ReportedComparison,
  type ReservedFile,
  reportOfComparisons,
  reserveReport,
} from "./report.ts";
import { comparisonTable } from "./tables.ts";

interface CompareFlags {
  readonly json?: true;
  readonly report?: string;
  readonly missingScale: "error" | "one";
  readonly minSqnr?: number;
  readonly threads?: number;
}

/**
 * `blockscale compare A B`
 * @throws BlockscaleError where more than precision was lost, after the report has been printed: the exit
 * status is 1
 */
export async function compare(
  pathA: string,
  pathB: string,
  flags: CompareFlags,
  signal: AbortSignal,
): Promise<void> {
  const a = await openInput(pathA, signal);
  let page: ReservedFile | null = null;
  try {
    const b = await openInput(pathB, signal);
    try {
      const pairs = await pairsOf([a, b], [pathA, pathB]);
      page = await reserveReport(flags.report, [pathA, pathB]);
      const engine = await load();
      const compared: Prefixed<ReportedComparison>[] = [];
      for (const { prefix, sides } of pairs)
        compared.push({ prefix, sides, tensors: await comparePair(sides, flags, engine, signal) });
      const tensors = compared.flatMap(({ prefix, tensors }) =>
        tensors.map((tensor) => ({ ...tensor, name: prefix + tensor.name })),
      );
      await throwIfInterrupted(signal);
      await (flags.json === true
        ? printJson({ a: pathA, b: pathB, tensors, total: totalOf(tensors) })
        : print(`${comparisonTable(tensors)}\n\n${verdictOf(tensors)}`));
      await page?.write(reportPage(await reportOfComparisons([pathA, pathB], compared, engine, signal)));
      refuseDifferences(`${pathA}, ${pathB}`, tensors);
      if (flags.minSqnr !== undefined) refuseNoise(`${pathA}, ${pathB}`, tensors, flags.minSqnr);
    } finally {
      await b.close();
    }
  } finally {
    await page?.discard();
    await a.close();
  }
}

/** Two models to be compared. */
interface ComparedPair {
  /** What the names of their tensors begin with in a pipeline. */
  readonly prefix: string;
  readonly sides: readonly [Side, Side];
}

/** The models of both sides: one each, or those of two pipelines by the names of their folders. */
async function pairsOf(
  inputs: readonly [Input, Input],
  paths: readonly [string, string],
): Promise<ComparedPair[]> {
  const [a, b] = await Promise.all(
    inputs.map(({ isFolder, files }) => (isFolder ? pipelineOf(files) : null)),
  );
  if (a == null || b == null) {
    const open = (i: 0 | 1): Promise<Side> => openCheckpoint(inputs[i].files, paths[i]);
    return [{ prefix: "", sides: [await open(0), await open(1)] }];
  }
  const names = [...new Set([...a.components.keys(), ...b.components.keys()])];
  const side = async ({ components }: Pipeline, name: string, path: string): Promise<Side> => {
    const files = components.get(name);
    return files === undefined ? NOTHING : openCheckpoint(files, `${path}/${name}`);
  };
  return Promise.all(
    names.map(async (name): Promise<ComparedPair> => {
      return { prefix: `${name}/`, sides: [await side(a, name, paths[0]), await side(b, name, paths[1])] };
    }),
  );
}

/** A model that one of two pipelines does not have. */
const NOTHING: Side = { checkpoint: { shards: [], config: null }, sources: [] };

async function comparePair(
  [a, b]: readonly [Side, Side],
  { missingScale, threads: asked }: CompareFlags,
  engine: Engine,
  signal: AbortSignal,
): Promise<ComparedTensor[]> {
  const threads = startComparing(a.sources, b.sources, asked);
  const { compare, ahead } = threads ?? {};
  const options = { missingScale, signal, ...(threads !== null && { compare, ahead }) };
  return compareCheckpoints(a, b, engine, options).finally(() => threads?.stop());
}

/** SQNR in decibels; Infinity where nothing was lost. */
function sqnrOf({ precision }: ComparedTensor): number {
  return precision === null ? Infinity : (precision.sqnrDb ?? Infinity);
}

function decibels(sqnr: number): string {
  return sqnr === -Infinity ? "-inf" : sqnr.toFixed(2);
}

/** The last line: how many are equal, and the one that lost most. */
function verdictOf(tensors: readonly ComparedTensor[]): string {
  const exact = tensors.filter((tensor) => sqnrOf(tensor) === Infinity).length;
  const worst = tensors.reduce<ComparedTensor | undefined>(
    (least, tensor) => (least === undefined || sqnrOf(tensor) < sqnrOf(least) ? tensor : least),
    undefined,
  );
  if (worst === undefined || sqnrOf(worst) === Infinity) return `${counted(tensors)}: nothing was lost.`;
  return `${counted(tensors)}, ${exact} of them without loss; the least SQNR is ${decibels(sqnrOf(worst))} dB, of ${figures.text(worst.name)}.`;
}

function counted({ length }: readonly unknown[]): string {
  return length === 1 ? "1 tensor" : `${figures.count(length)} tensors`;
}

function refuseNoise(where: string, tensors: readonly ComparedTensor[], least: number): void {
  const below = tensors.filter((tensor) => sqnrOf(tensor) < least);
  if (below.length === 0) return;
  throw new BlockscaleError("format", {
    where,
    expected: `an SQNR of at least ${least} dB`,
    got: `${counted(below)} below it; first of all ${quotedTensor(below[0]!.name)} with ${decibels(sqnrOf(below[0]!))} dB`,
    fix: "Keep these weights as they are (--exclude), or ask for less.",
  });
}

/** Tensors counted by what came of the comparison, and the values that are not finite. */
function totalOf(tensors: readonly ComparedTensor[]): { [status: string]: number } {
  const total: { [status: string]: number } = {};
  for (const { status } of tensors) total[status] = (total[status] ?? 0) + 1;
  const nonFinite = tensors.reduce((n, { precision }) => n + (precision?.nonFinite ?? 0), 0);
  return { ...total, nonFinite };
}

function refuseDifferences(where: string, tensors: readonly ComparedTensor[]): void {
  const { nonFinite = 0, ...total } = totalOf(tensors);
  const kinds = ["only in A", "only in B", "differs"] as const;
  const found = kinds.flatMap((kind) => (total[kind] === undefined ? [] : [`${total[kind]} ${kind}`]));
  if (nonFinite > 0) found.push(`${figures.values(nonFinite)} NaN or Inf on one side`);
  if (found.length === 0) return;
  const first = tensors.find(
    ({ status, precision }) => kinds.some((kind) => kind === status) || (precision?.nonFinite ?? 0) > 0,
  );
  throw new BlockscaleError("format", {
    where,
    expected: "the same tensors on both sides, with NaN and Inf in the same places",
    got: `${found.join(", ")}; first of all in ${quotedTensor(first!.name)}`,
    fix: "The report tells which.",
  });
}
