import { readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { createFile, makeFolder, writeText } from "../io/node.ts";
import { openFolder } from "../io/node-folder.ts";
import type { Source } from "../io/source.ts";
import { hasKeys, parsed } from "../jobs/spec.ts";
import type { RangesByLayer } from "../report/training/report.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { createTrainer, type NewModel } from "../train/create.ts";
import type { DataParallel } from "../train/data-parallel.ts";
import { warmupCosine } from "../train/options.ts";
import type { Trainer } from "../train/trainer.ts";
import type { TrainFlags } from "./train.ts";

/** The log of a run so far, kept with every checkpoint. */
export interface Log {
  /** The options of the run. It is only continued with the same ones. */
  readonly settings: object;
  readonly losses: number[];
  /** Loss on the last twentieth of the text, which is not learned from, by the number of steps before it. */
  readonly validation: [steps: number, loss: number][];
  /** Tokens a second, and what rounding did, since the entry before: for a report. */
  readonly speeds: [steps: number, rate: number][];
  readonly ranges: [steps: number, counts: RangesByLayer][];
}

const CHECKPOINT = /^checkpoint-(\d+)$/;
const LOG = "training.json";
const ADAPTER_FOLDER = "adapter";

/** Continues an unfinished run of the same settings, or begins a new one. */
export async function beginOrContinue(
  out: string,
  settings: object,
  flags: TrainFlags,
  beginning: NewModel | ReadonlyMap<string, Source>,
  dataParallel?: DataParallel,
): Promise<{ trainer: Trainer; log: Log }> {
  const options = {
    recipe: flags.recipe,
    learningRate: flags.learningRate,
    schedule: warmupCosine(Math.max(1, Math.round(flags.steps / 20)), flags.steps),
    threads: flags.threads,
    recompute: flags.recompute,
    moments: flags.moments,
    counts: flags.report !== undefined,
    lora: flags.lora === undefined ? undefined : { rank: flags.lora, targets: flags.loraTargets },
    seed: flags.seed,
    dataParallel,
  };
  const names = (await readdir(out)).filter((name) => CHECKPOINT.test(name));
  const newest = names.sort((a, b) => Number(CHECKPOINT.exec(b)![1]) - Number(CHECKPOINT.exec(a)![1]))[0];
  if (newest === undefined) {
    const trainer = await createTrainer(beginning, options);
    return { trainer, log: { settings, losses: [], validation: [], speeds: [], ranges: [] } };
  }
  const path = join(out, newest);
  const log = logIn(path, await readFile(join(path, LOG), "utf8").catch(() => ""));
  if (JSON.stringify(log.settings) !== JSON.stringify(settings)) {
    throw new BlockscaleError("option", {
      where: path,
      expected: "a run with the same texts and options",
      got: "one with others",
      fix: "Give the same command again, or another OUT, or remove the checkpoint folders there.",
    });
  }
  const kept = await openFolder(path);
  const files =
    flags.lora === undefined ? kept : new Map([...(beginning as ReadonlyMap<string, Source>), ...kept]);
  return { trainer: await createTrainer(files, options), log };
}

/** @throws BlockscaleError `format`: a log is missing, or damaged */
function logIn(folder: string, text: string): Log {
  const log = parsed(text);
  const lists = ["losses", "validation", "speeds", "ranges"];
  if (hasKeys(log, ["settings", ...lists]) && lists.every((key) => Array.isArray(log[key])))
    return log as unknown as Log;
  throw new BlockscaleError("format", {
    where: join(folder, LOG),
    expected: "the log of the run to continue",
    got: text === "" ? "nothing" : "something else",
    fix: `Bring the file back, or remove ${folder} and begin anew.`,
  });
}

async function write(path: string, source: Source): Promise<void> {
  const writer = (await createFile(path)).getWriter();
  await writer.write(new Uint8Array(await source.slice(0, source.size).arrayBuffer()));
  await writer.close();
}

/**
 * Writes a checkpoint folder with all that is needed to continue. It appears under its name
 * when it is whole; older ones are removed.
 */
export async function writeCheckpoint(
  out: string,
  trainer: Trainer,
  log: Log,
  isAdapted: boolean,
): Promise<void> {
  const name = `checkpoint-${trainer.steps}`;
  const partial = join(out, `.${name}`);
  await rm(partial, { recursive: true, force: true });
  await makeFolder(partial);
  const files = isAdapted ? trainer.adapter(true) : trainer.files(true);
  for (const [file, blob] of files) await write(join(partial, file), blob);
  await writeText(join(partial, LOG), JSON.stringify(log));
  await rename(partial, join(out, name));
  for (const old of await readdir(out))
    if (CHECKPOINT.test(old) && old !== name) await rm(join(out, old), { recursive: true });
}

/**
 * Writes the model as a folder that `generate` and transformers load. Adapters are added to its weights, and
 * are also written to a folder of their own, as PEFT loads them.
 */
export async function writeModel(
  out: string,
  trainer: Trainer,
  log: Log,
  tokenizer: ReadonlyMap<string, Source>,
  isAdapted: boolean,
): Promise<void> {
  const adapter = isAdapted ? trainer.adapter() : [];
  if (isAdapted) await makeFolder(join(out, ADAPTER_FOLDER));
  for (const [file, blob] of [...tokenizer, ...trainer.files()]) await write(join(out, file), blob);
  for (const [file, blob] of adapter) await write(join(out, ADAPTER_FOLDER, file), blob);
  // Speeds are left out, so that two runs write the same bytes.
  const { settings, losses, validation } = log;
  await writeText(join(out, LOG), JSON.stringify({ settings, losses, validation }));
  for (const old of await readdir(out))
    if (/^\.?checkpoint-\d+$/.test(old)) await rm(join(out, old), { recursive: true });
}
