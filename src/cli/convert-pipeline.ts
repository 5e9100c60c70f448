import type { Pipeline } from "../checkpoint/plan/pipeline.ts";
import { refuseObstacles, refuseOverlap } from "../io/node-folder.ts";
import { namesAt, openAt, placeIn } from "../io/place.ts";
import type { Source } from "../io/source.ts";
import { carry } from "../jobs/conversion.ts";
import { haveSameSamples } from "../jobs/finished.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { type ConversionJob, convertOne } from "./convert-one.ts";
import * as figures from "./figures.ts";
import { jobsOf } from "./pipeline-jobs.ts";
import type { Prefixed, ReportedConversion } from "./report.ts";
import type { CommandResult } from "./results.ts";

/**
 * Converts the models of a pipeline one after the other, each into its folder. What has no weights is carried
 * over; so are autoencoders, unless plain values are wanted.
 * @param print prints the result of all
 * @returns the models that were converted: see {@link convertOne}
 */
export async function convertPipeline(
  pipeline: Pipeline,
  job: ConversionJob,
  print: (result: CommandResult) => Promise<void>,
): Promise<Prefixed<ReportedConversion>[]> {
  const { from, to, task, flags, signal } = job;
  const isKept = (name: string) => task.direction.kind === "quantize" && pipeline.kept.has(name);
  const names = [...pipeline.components.keys()];
  const jobs = await jobsOf(
    pipeline,
    names.filter((name) => !isKept(name)),
    job,
  );
  const carried = carriedFiles(pipeline, new Set(jobs.keys()));
  if (flags.dryRun !== true) {
    await refuseOverlap(from, to);
    await refuseObstacles(to, [...carried.keys()]);
    if (flags.overwrite !== true) await refuseOthers(pipeline, to);
  }
  const results: [component: string, CommandResult][] = [];
  const all: Prefixed<ReportedConversion>[] = [];
  for (const [component, files] of pipeline.components) {
    const own = jobs.get(component);
    if (own === undefined) continue;
    const of = { ...own, to: placeIn(to, component) };
    const made = await convertOne(
      { isFolder: true, files },
      of,
      async (result) => void results.push([component, result]),
    );
    if (made !== null) all.push({ ...made, prefix: `${component}/` });
  }
  if (flags.dryRun !== true) await carryAll(carried, to, signal);
  const kept = names.filter((name) => !jobs.has(name));
  await print({
    record: {
      input: from,
      output: to,
      ...task.direction,
      components: Object.fromEntries(results.map(([component, { record }]) => [component, record])),
      kept,
    },
    lines: () =>
      [
        ...results.flatMap(([component, { lines }]) => [`## ${figures.text(component)}`, "", lines(), ""]),
        ...kept.map(
          (name) =>
            `${figures.text(name)} stays as it is: ${isKept(name) ? "an autoencoder, whose errors are seen in every picture" : "nothing of it was chosen"}.`,
        ),
      ].join("\n"),
  });
  return all;
}

/** What stays as it is, by its path in the pipeline: files of no component, and of those not converted. */
function carriedFiles({ components, others }: Pipeline, converted: ReadonlySet<string>): Map<string, Source> {
  const carried = new Map<string, Source>(others);
  for (const [component, files] of components) {
    if (!converted.has(component))
      for (const [name, file] of files) carried.set(`${component}/${name}`, file);
  }
  return carried;
}

/** Copies files, except those that an earlier run has copied. */
async function carryAll(files: ReadonlyMap<string, Source>, to: string, signal: AbortSignal): Promise<void> {
  for (const [name, source] of files) {
    const place = placeIn(to, ...name.split("/"));
    const found = await openAt(place).catch(() => undefined);
    if (!(await haveSameSamples(name, source, found))) await carry(source, place, signal);
    await found?.close();
  }
}

/** @throws BlockscaleError `option`: what can only be asked of one model */
export function refuseForPipeline(
  from: string,
  options: { readonly [option: string]: string | readonly unknown[] | undefined },
): void {
  const [option] = Object.entries(options).find(([, value]) => (value?.length ?? 0) > 0) ?? [];
  if (option === undefined) return;
  throw new BlockscaleError("option", {
    where: `--${option}`,
    expected: "one model, whose weights it can tell apart",
    got: "a pipeline of several",
    fix: `Give the folder of one of them: ${from}/COMPONENT.`,
  });
}

/** Refuses an OUT that holds anything but what an earlier run of this command has made. */
async function refuseOthers({ components, others }: Pipeline, to: string): Promise<void> {
  const ours = new Set([...components.keys(), ...[...others.keys()].map((name) => name.split("/")[0]!)]);
  const names = await namesAt(to).catch((): string[] => []);
  const other = names.find((name) => !ours.has(name) && !name.startsWith("."));
  if (other === undefined) return;
  throw new BlockscaleError("option", {
    where: to,
    expected: "a new or empty folder, or the output of this same command",
    got: `a folder that holds ${other}`,
    fix: "Choose another folder, empty this one, or pass --overwrite.",
  });
}
