import { readFile } from "node:fs/promises";
import { SingleBar } from "cli-progress";
import { makeFolder, systemFault } from "../io/node.ts";
import { openFolder } from "../io/node-folder.ts";
import { type Json, readJson } from "../model/json.ts";
import { openTokenizer } from "../model/tokenizer.ts";
import { trainingPage } from "../report/training/page.ts";
import { byLayer } from "../report/training/report.ts";
import { isRecord, kindOf } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { RecipeName } from "../train/recipes.ts";
import type { Trainer } from "../train/trainer.ts";
import { throwIfInterrupted } from "./interruption.ts";
import { print } from "./print.ts";
import { reserveReport } from "./report.ts";
import { digestOfWeights, type RankFlags, TrainingRank } from "./train-ranks.ts";
import { readTexts, TrainingText, tokenizerOf, vocabularyOf } from "./train-text.ts";
import { beginOrContinue, type Log, writeCheckpoint, writeModel } from "./training-folder.ts";

export interface TrainFlags extends RankFlags {
  readonly config: string;
  readonly recipe: RecipeName;
  readonly steps: number;
  readonly context: number;
  readonly learningRate: number;
  readonly seed: number;
  readonly tokenizer?: string;
  readonly every: number;
  readonly threads: number;
  readonly recompute?: true;
  readonly moments: "f32" | "bf16";
  readonly from?: string;
  readonly lora?: number;
  readonly loraTargets?: readonly string[];
  readonly report?: string;
  readonly json?: true;
}

/** Most points in time that a report shows. */
const REPORTED = 60;

/** `blockscale train TEXT... OUT`: on one machine, or as one of several ranks. */
export async function train(
  paths: readonly string[],
  out: string,
  flags: TrainFlags,
  signal: AbortSignal,
): Promise<void> {
  const ownRank = await TrainingRank.open(flags, signal);
  try {
    await run(paths, out, flags, signal, ownRank);
  } catch (error) {
    await ownRank?.stop(error);
    throw error;
  } finally {
    await ownRank?.close();
  }
}

/** What the steps of a run, and its end, work with. */
interface Run {
  readonly out: string;
  readonly flags: TrainFlags;
  readonly text: TrainingText;
  readonly trainer: Trainer;
  readonly log: Log;
  readonly ownRank: TrainingRank | null;
  /** Which of how many ranks this is: 0 of 1 on one machine. */
  readonly rank: number;
  readonly size: number;
}

async function run(
  paths: readonly string[],
  out: string,
  flags: TrainFlags,
  signal: AbortSignal,
  ownRank: TrainingRank | null,
): Promise<void> {
  const words = await readTexts(paths);
  if (flags.lora !== undefined && flags.from === undefined) throw withoutModel();
  const model = flags.from === undefined ? null : await openFolder(flags.from);
  const tokenizerFiles = await tokenizerOf(flags.tokenizer, model);
  const tokenizer = (await openTokenizer(tokenizerFiles))!;
  const text = new TrainingText(tokenizer.encode(words, { special: false }), flags.context);
  const beginning = model ?? {
    config: await configOf(flags, vocabularyOf(tokenizer, text.ids)),
    seed: flags.seed,
  };
  const settings = { ...settingsOf(flags), paths };
  const { rank, size } = ownRank?.exchange ?? { rank: 0, size: 1 };
  const isFirst = rank === 0;
  const report = await reserveReport(isFirst ? flags.report : undefined, [out, ...paths]);
  try {
    await makeFolder(out);
    const { trainer, log } = await beginOrContinue(out, settings, flags, beginning, ownRank?.exchange);
    const self: Run = { out, flags, text, trainer, log, ownRank, rank, size };
    tell(self);
    await ownRank?.join(trainer, { ...settings, every: flags.every }, text.ids);
    const rate = startRate(self);
    await takeSteps(self, rate, signal);
    if (isFirst) await writeModel(out, trainer, log, tokenizerFiles, flags.lora !== undefined);
    const parameters = trainer.names.reduce((sum, name) => sum + trainer.weight(name).length, 0);
    await report?.write(trainingPage({ texts: paths, out, recipe: flags.recipe, parameters, ...log }));
    const result = resultOf(self, rate());
    await trainer.close();
    await print(flags.json ? JSON.stringify(result, null, 2) : lineOf(result, self));
  } catch (error) {
    await report?.discard();
    throw error;
  }
}

/** Trains until all steps are taken; every so often computes the held-out loss and saves a checkpoint. */
async function takeSteps(run: Run, rate: () => number, signal: AbortSignal): Promise<void> {
  const { flags, text, trainer, log, rank, size } = run;
  /** This rank's sequences of a batch. */
  const share = flags.batch / size;
  const bar = process.stderr.isTTY && rank === 0 ? progressBar() : null;
  const isReported = flags.report !== undefined && rank === 0;
  let rateSincePoint = startRate(run);
  bar?.start(flags.steps, trainer.steps, { loss: "-", rate: "-" });
  try {
    while (trainer.steps < flags.steps) {
      await throwIfInterrupted(signal);
      const batch = text.batchAt(trainer.steps, flags.seed, rank * share, share);
      const { loss } = await trainer.step(batch, [share, text.width], flags.microBatches);
      log.losses.push(loss);
      tell(run);
      bar?.update(trainer.steps, { loss: loss.toFixed(4), rate: Math.round(rate()) });
      if (isReported && trainer.steps % Math.ceil(flags.steps / REPORTED) === 0) {
        log.speeds.push([trainer.steps, rateSincePoint()]);
        rateSincePoint = startRate(run);
        log.ranges.push([trainer.steps, byLayer(trainer.ranges())]);
      }
      if (trainer.steps % flags.every === 0 || trainer.steps === flags.steps) await validateAndSave(run);
    }
  } finally {
    bar?.stop();
  }
}

/** All ranks agree on the weights. The first computes the held-out loss, and saves unless it is the end. */
async function validateAndSave({ out, flags, text, trainer, log, ownRank, rank }: Run): Promise<void> {
  await ownRank?.agree(trainer);
  if (rank !== 0) return;
  log.validation.push([trainer.steps, await text.heldOutLoss(trainer)]);
  if (trainer.steps < flags.steps) await writeCheckpoint(out, trainer, log, flags.lora !== undefined);
}

/** Shows in `status` how far a run of several ranks is. */
function tell({ ownRank, out, trainer, flags, log }: Run): void {
  ownRank?.tell(out, trainer.steps, flags.steps, log.losses.at(-1));
}

/** Tokens a second from this call on. */
function startRate({ trainer, flags }: Run): () => number {
  const first = trainer.steps;
  const started = performance.now();
  return () => {
    const tokens = (trainer.steps - first) * flags.batch * flags.context;
    return tokens / ((performance.now() - started) / 1000);
  };
}

function progressBar(): SingleBar {
  return new SingleBar({
    stream: process.stderr,
    format: "{bar} step {value} of {total} | loss {loss} | {rate} tokens/s | {eta_formatted} left",
    hideCursor: true,
    clearOnComplete: true,
    linewrap: false,
  });
}

/** What `--json` prints. */
interface Result {
  readonly steps: number;
  readonly loss: number | undefined;
  readonly validation?: number | undefined;
  readonly bitsPerToken?: number | undefined;
  readonly tokensPerSecond: number;
}

function resultOf({ trainer, log, ownRank, rank, size }: Run, tokensPerSecond: number): Result {
  const [, validation] = log.validation.at(-1) ?? [];
  const bitsPerToken = validation === undefined ? undefined : validation / Math.LN2;
  return {
    steps: trainer.steps,
    loss: log.losses.at(-1),
    ...(rank === 0 ? { validation, bitsPerToken } : {}),
    tokensPerSecond,
    ...(ownRank === null
      ? {}
      : { rank, worldSize: size, weights: digestOfWeights(trainer), bytes: ownRank.exchange.bytes }),
  };
}

/** The result for people to read. */
function lineOf(result: Result, { rank, size }: Run): string {
  const { steps, loss, validation, bitsPerToken, tokensPerSecond } = result;
  const own =
    rank === 0
      ? `held-out loss ${validation?.toFixed(4)} (${bitsPerToken?.toFixed(3)} bits a token)`
      : `rank ${rank} of ${size}`;
  return `${steps} steps: loss ${loss?.toFixed(4)}, ${own}, ${Math.round(tokensPerSecond)} tokens/s`;
}

/** Options that do not change the resulting weights. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set([
  ...["json", "every", "threads", "recompute", "report"],
  ...["queue", "rank", "timeout", "gradients"],
]);

/** The options that must be the same to continue a run; with several ranks also the format of gradients. */
function settingsOf(flags: TrainFlags): object {
  const settings = Object.fromEntries(
    Object.entries(flags)
      .filter(([name]) => !WITHOUT_EFFECT.has(name))
      // The name that unfinished runs have kept it under.
      .map(([name, value]) => [name === "microBatches" ? "parts" : name, value]),
  );
  return flags.queue === undefined ? settings : { ...settings, gradients: flags.gradients };
}

function withoutModel(): BlockscaleError {
  return new BlockscaleError("option", {
    where: "train: --lora",
    expected: "a model to adapt",
    got: "random weights",
    fix: "Name its folder with --from.",
  });
}

function noConfig(path: string, found: unknown): BlockscaleError {
  return new BlockscaleError("format", {
    where: path,
    expected: "the object of a config.json",
    got: kindOf(found),
    fix: "Name another file with --config, or leave it out for a small Llama.",
  });
}

/** A Llama of 3.5 million parameters, or what a config.json says. */
async function configOf(flags: TrainFlags, vocabulary: number): Promise<Json> {
  const common = { vocab_size: vocabulary, max_position_embeddings: flags.context };
  if (flags.config !== "small") {
    const bytes = await readFile(flags.config).catch((cause) => {
      throw systemFault(flags.config, '"small", or a config.json', cause);
    });
    const json = await readJson(flags.config, new Blob([bytes as BlobPart]));
    if (!isRecord(json)) throw noConfig(flags.config, json);
    return {
      ...(json as Json),
      ...common,
      max_position_embeddings: Math.max(flags.context, Number((json as Json).max_position_embeddings) || 0),
    };
  }
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_size: 256,
    intermediate_size: 768,
    num_hidden_layers: 4,
    num_attention_heads: 4,
    num_key_value_heads: 4,
    head_dim: 64,
    hidden_act: "silu",
    rms_norm_eps: 1e-6,
    rope_theta: 10000,
    tie_word_embeddings: false,
    initializer_range: 0.02,
    attention_bias: false,
    mlp_bias: false,
    bos_token_id: null,
    eos_token_id: null,
    ...common,
  };
}
