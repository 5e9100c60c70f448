import { type Inspection, inspect as inspectCheckpoint } from "../checkpoint/measure/inspect.ts";
import { chooseFiles, openCheckpoint } from "../checkpoint/plan/folder.ts";
import { type Pipeline, pipelineOf } from "../checkpoint/plan/pipeline.ts";
import { reportPage } from "../report/page.ts";
import { inspectionReport } from "../report/report.ts";
import { refuseForPipeline } from "./convert-pipeline.ts";
import { openInput } from "./input.ts";
import { throwIfInterrupted } from "./interruption.ts";
import { print, printJson } from "./print.ts";
import { joinInspections, type Prefixed, type ReservedFile, reserveReport } from "./report.ts";
import { inspectionTable, otherFilesLines } from "./tables.ts";

/** `blockscale inspect PATH` */
export async function inspect(
  path: string,
  flags: { readonly json?: true; readonly report?: string; readonly files?: readonly string[] },
  signal: AbortSignal,
): Promise<void> {
  const input = await openInput(path, signal);
  let page: ReservedFile | null = null;
  try {
    const pipeline = input.isFolder ? await pipelineOf(input.files) : null;
    if (pipeline !== null) refuseForPipeline(path, { files: flags.files });
    page = await reserveReport(flags.report, [path]);
    if (pipeline !== null) {
      const found = await inspectPipeline(path, pipeline, flags, signal);
      await page?.write(reportPage(inspectionReport(path, joinInspections(found))));
      return;
    }
    const chosen = chooseFiles(input.files, flags.files);
    const opened = await openCheckpoint(chosen.files, path);
    const { checkpoint, sources, leftOut, unread } = opened;
    const notChosen = chosen.leftOut;
    const inspection = await inspectCheckpoint(checkpoint, sources, { missingScale: "one", signal });
    await throwIfInterrupted(signal);
    await (flags.json === true
      ? printJson({ input: path, leftOut: [...leftOut, ...notChosen], unread, ...inspection })
      : print(
          [inspectionTable(inspection), ...otherFilesLines({ leftOut, notChosen, unread }, "Not read")].join(
            "\n",
          ),
        ));
    await page?.write(reportPage(inspectionReport(path, inspection)));
  } finally {
    await page?.discard();
    await input.close();
  }
}

/** Every model of a pipeline, one after the other. */
async function inspectPipeline(
  path: string,
  { components }: Pipeline,
  flags: { readonly json?: true },
  signal: AbortSignal,
): Promise<Prefixed<Inspection>[]> {
  const found: [component: string, Inspection][] = [];
  for (const [component, files] of components) {
    const { checkpoint, sources } = await openCheckpoint(files, `${path}/${component}`);
    found.push([component, await inspectCheckpoint(checkpoint, sources, { missingScale: "one", signal })]);
  }
  const tables = found.map(([component, inspection]) => `## ${component}\n\n${inspectionTable(inspection)}`);
  await (flags.json === true
    ? printJson({ input: path, components: Object.fromEntries(found) })
    : print(tables.join("\n\n")));
  return found.map(([component, inspection]) => ({ ...inspection, prefix: `${component}/` }));
}
