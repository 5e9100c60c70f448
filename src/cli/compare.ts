import { type ComparedTensor, compareCheckpoints } from "../checkpoint/measure/compare.ts";
import { openCheckpoint } from "../checkpoint/plan/folder.ts";
import { load } from "../load.ts";
import { tensorNamed } from "../safetensors/names.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import * as figures from "./figures.ts";
import { openInput } from "./input.ts";
import { heed } from "./interruption.ts";
import { print, printJson } from "./print.ts";
import { type ReservedReport, reportOfComparison, reserveReport } from "./report.ts";
import { comparisonTable } from "./tables.ts";

/**
 * `blockscale compare A B`
 * @throws BlockscaleError where more than precision was lost: also what has been reported must end with 1
 */
export async function compare(
  pathA: string,
  pathB: string,
  flags: { readonly json?: true; readonly report?: string; readonly missingScale: "error" | "one" },
  signal: AbortSignal,
): Promise<void> {
  const a = await openInput(pathA, signal);
  let page: ReservedReport | null = null;
  try {
    const b = await openInput(pathB, signal);
    try {
      page = await reserveReport(flags.report, [pathA, pathB]);
      const sides = [await openCheckpoint(a.files, pathA), await openCheckpoint(b.files, pathB)] as const;
      const { missingScale } = flags;
      const engine = await load();
      const tensors = await compareCheckpoints(...sides, engine, { missingScale, signal });
      await heed(signal);
      await (flags.json === true
        ? printJson({ a: pathA, b: pathB, tensors, total: totalOf(tensors) })
        : print(comparisonTable(tensors)));
      await page?.write(await reportOfComparison([pathA, pathB], sides, tensors, engine, signal));
      refuseDifferences(`${pathA}, ${pathB}`, tensors);
    } finally {
      await b.close();
    }
  } finally {
    await page?.discard();
    await a.close();
  }
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
