import { type ComparedTensor, compareCheckpoints } from "../checkpoint/measure/compare.ts";
import { openCheckpoint } from "../checkpoint/plan/folder.ts";
import { startComparing } from "../jobs/threads.ts";
import { load } from "../load.ts";
import { reportPage } from "../report/page.ts";
import { tensorNamed } from "../safetensors/names.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import * as figures from "./figures.ts";
import { openInput } from "./input.ts";
import { throwIfInterrupted } from "./interruption.ts";
import { print, printJson } from "./print.ts";
import { type ReservedFile, reportOfComparison, reserveReport } from "./report.ts";
import { comparisonTable } from "./tables.ts";

/**
 * `blockscale compare A B`
 * @throws BlockscaleError where more than precision was lost: also what has been reported must end with 1
 */
export async function compare(
  pathA: string,
  pathB: string,
  flags: {
    readonly json?: true;
    readonly report?: string;
    readonly missingScale: "error" | "one";
    readonly minSqnr?: number;
    readonly jobs?: number;
  },
  signal: AbortSignal,
): Promise<void> {
  const a = await openInput(pathA, signal);
  let page: ReservedFile | null = null;
  try {
    const b = await openInput(pathB, signal);
    try {
      page = await reserveReport(flags.report, [pathA, pathB]);
      const sides = [await openCheckpoint(a.files, pathA), await openCheckpoint(b.files, pathB)] as const;
      const { missingScale } = flags;
      const engine = await load();
      const threads = startComparing(sides[0].sources, sides[1].sources, flags.jobs);
      const { compare, ahead } = threads ?? {};
      const options = { missingScale, signal, ...(threads !== null && { compare, ahead }) };
      const tensors = await compareCheckpoints(...sides, engine, options).finally(() => threads?.stop());
      await throwIfInterrupted(signal);
      await (flags.json === true
        ? printJson({ a: pathA, b: pathB, tensors, total: totalOf(tensors) })
        : print(`${comparisonTable(tensors)}\n\n${verdictOf(tensors)}`));
      await page?.write(reportPage(await reportOfComparison([pathA, pathB], sides, tensors, engine, signal)));
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
    got: `${below.length} tensors below it; first of all ${tensorNamed(below[0]!.name)} with ${decibels(sqnrOf(below[0]!))} dB`,
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
    expected: "the same tensors on both sides, finite where the other is",
    got: `${found.join(", ")}; first of all in ${tensorNamed(first!.name)}`,
    fix: "The report tells which.",
  });
}
