import { type ComparedTensor, compareCheckpoints } from "../checkpoint/compare.ts";
import { openCheckpoint } from "../checkpoint/folder.ts";
import { load } from "../load.ts";
import { openInput } from "./input.ts";
import { print, printJson } from "./print.ts";
import { comparisonTable } from "./tables.ts";

/** `blockscale compare A B` */
export async function compare(
  pathA: string,
  pathB: string,
  flags: { readonly json?: true; readonly missingScale: "error" | "one" },
  signal: AbortSignal,
): Promise<void> {
  const a = await openInput(pathA);
  try {
    const b = await openInput(pathB);
    try {
      const sides = [await openCheckpoint(a.files, pathA), await openCheckpoint(b.files, pathB)] as const;
      const { missingScale } = flags;
      const tensors = await compareCheckpoints(...sides, await load(), { missingScale, signal });
      await (flags.json === true
        ? printJson({ a: pathA, b: pathB, tensors, total: totalOf(tensors) })
        : print(comparisonTable(tensors)));
    } finally {
      await b.close();
    }
  } finally {
    await a.close();
  }
}

/** Tensors counted by what came of the comparison. */
function totalOf(tensors: readonly ComparedTensor[]): { [status: string]: number } {
  const total: { [status: string]: number } = {};
  for (const { status } of tensors) total[status] = (total[status] ?? 0) + 1;
  return total;
}
