import { readCheckpoint } from "../checkpoint/checkpoint.ts";
import type { DialectName } from "../checkpoint/dialects.ts";
import { planQuantize } from "../checkpoint/quantize.ts";
import type { Precision } from "../checkpoint/report.ts";
import { fileStream, localConverter } from "../checkpoint/run.ts";
import { summarize } from "../checkpoint/summary.ts";
import { BlockscaleError } from "../errors.ts";
import { createFile, isSameFile, openFile } from "../io/node.ts";
import { load } from "../load.ts";
import { startProgress } from "./progress.ts";
import { summaryTable } from "./tables.ts";

/** Options of `blockscale quantize` as commander hands them over. */
export interface QuantizeFlags {
  readonly to: DialectName;
  readonly include?: string[];
  readonly exclude?: string[];
  readonly json?: true;
}

/** `blockscale quantize IN OUT` */
export async function quantize(
  input: string,
  output: string,
  flags: QuantizeFlags,
  signal: AbortSignal,
): Promise<void> {
  const source = await openFile(input);
  try {
    await refuseSameFile(input, output);
    const checkpoint = await readCheckpoint(new Map([[input, source]]));
    const plan = planQuantize(checkpoint, flags);
    const file = plan.files[0]!;
    const engine = await load();
    const measured = new Map<string, Precision>();
    const progress = startProgress(file.size);
    try {
      const stream = fileStream(file, {
        sources: [source],
        convert: localConverter(engine, [source]),
        signal,
        onProgress: progress.update,
        onPrecision: (name, precision) => measured.set(name, precision),
      });
      await stream.pipeTo(await createFile(output), { signal });
    } finally {
      progress.stop();
    }
    const summary = summarize(plan, measured);
    console.log(
      flags.json === true
        ? JSON.stringify({ input, output, dialect: flags.to, ...summary }, null, 2)
        : summaryTable(summary),
    );
  } finally {
    await source.close();
  }
}

async function refuseSameFile(input: string, output: string): Promise<void> {
  if (!(await isSameFile(input, output))) return;
  throw new BlockscaleError("option", {
    where: "OUT",
    expected: "another file than IN",
    got: `${output}, which is the same file`,
    fix: "Choose another name: the input is never changed.",
  });
}
