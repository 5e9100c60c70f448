import { readFile } from "node:fs/promises";
import { SingleBar } from "cli-progress";
import { makeFolder, systemFault } from "../io/node.ts";
import { openFolder } from "../io/node-folder.ts";
import type { Source } from "../io/source.ts";
import { type Json, readJson } from "../model/json.ts";
import { openTokenizer, type Tokenizer } from "../model/tokenizer.ts";
import { trainingPage } from "../report/training/page.ts";
import { byLayer } from "../report/training/report.ts";
import { isRecord, kindOf } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { byteTokenizer } from "../train/byte-tokenizer.ts";
import { wordAt } from "../train/random.ts";
import type { RecipeName } from "../train/recipes.ts";
import { throwIfInterrupted } from "./interruption.ts";
import { print } from "./print.ts";
import { reserveReport } from "./report.ts";
import { digestOfWeights, type RankFlags, TrainingRank } from "./train-ranks.ts";
import { beginOrContinue, writeCheckpoint, writeModel } from "./training-folder.ts";

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

/** Most sequences of held-out text that a validation reads. */
const VALIDATED = 16;

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

async function run(
  paths: readonly string[],
  out: string,
  flags: TrainFlags,
  signal: AbortSignal,
  ownRank: TrainingRank | null,
): Promise<void> {
  const texts = await Promise.all(
    paths.map((path) =>
      readFile(path, "utf8").catch((cause) => {
        throw systemFault(path, "a readable text file", cause);
      }),
    ),
  );
  if (flags.lora !== undefined && flags.from === undefined) throw withoutModel();
  const model = flags.from === undefined ? null : await openFolder(flags.from);
  const tokenizerFiles = await tokenizerOf(flags.tokenizer, model);
  const tokenizer = (await openTokenizer(tokenizerFiles))!;
  const ids = tokenizer.encode(texts.join("\n"), { special: false });
  const split = Math.floor(ids.length * 0.95);
  const width = flags.context + 1;
  if (ids.length - split < width) throw tooShort(ids.length, 20 * width);
  const beginning = model ?? {
    config: await configOf(flags, vocabularyOf(tokenizer, ids)),
    seed: flags.seed,
  };
  const settings = { ...settingsOf(flags), paths };
  const { rank, size } = ownRank?.exchange ?? { rank: 0, size: 1 };
  const isFirst = rank === 0;
  const path = isFirst ? flags.report : undefined;
  const report = await reserveReport(path, [out, ...paths]);
  await makeFolder(out);
  const { trainer, log } = await beginOrContinue(out, settings, flags, beginning, ownRank?.exchange);
  const tell = () => ownRank?.tell(out, trainer.steps, flags.steps, log.losses.at(-1));
  tell();
  await ownRank?.join(trainer, { ...settings, every: flags.every }, ids);
  const share = flags.batch / size;
  /** This rank's rows of a batch. */
  const batchAt = (step: number): Int32Array => {
    const batch = new Int32Array(share * width);
    for (let row = 0; row < share; row++) {
      const start = wordAt(flags.seed, 2 ** 20 + step, rank * share + row) % (split - width + 1);
      batch.set(ids.subarray(start, start + width), row * width);
    }
    return batch;
  };
  const validate = async (): Promise<number> => {
    const rows = Math.min(VALIDATED, Math.floor((ids.length - split) / width));
    let sum = 0;
    for (let row = 0; row < rows; row++)
      sum += await trainer.loss(ids.slice(split + row * width, split + (row + 1) * width), [1, width]);
    return sum / rows;
  };
  const bar =
    process.stderr.isTTY && isFirst
      ? new SingleBar({
          stream: process.stderr,
          format: "{bar} step {value} of {total} | loss {loss} | {rate} tokens/s | {eta_formatted} left",
          hideCursor: true,
          clearOnComplete: true,
          linewrap: false,
        })
      : null;
  const started = performance.now();
  const first = trainer.steps;
  let before = { steps: first, time: started };
  const recordPoint = () => {
    const [steps, time] = [trainer.steps, performance.now()];
    const tokens = (steps - before.steps) * flags.batch * flags.context;
    log.speeds.push([steps, tokens / ((time - before.time) / 1000)]);
    log.ranges.push([steps, byLayer(trainer.ranges())]);
    before = { steps, time };
  };
  bar?.start(flags.steps, first, { loss: "-", rate: "-" });
  try {
    while (trainer.steps < flags.steps) {
      await throwIfInterrupted(signal);
      const { loss } = await trainer.step(batchAt(trainer.steps), [share, width], flags.microBatches);
      log.losses.push(loss);
      tell();
      const tokens = (trainer.steps - first) * flags.batch * flags.context;
      const rate = Math.round(tokens / ((performance.now() - started) / 1000));
      bar?.update(trainer.steps, { loss: loss.toFixed(4), rate });
      if (path !== undefined && trainer.steps % Math.ceil(flags.steps / REPORTED) === 0) recordPoint();
      if (trainer.steps % flags.every === 0 || trainer.steps === flags.steps) {
        await ownRank?.agree(trainer);
        if (!isFirst) continue;
        log.validation.push([trainer.steps, await validate()]);
        if (trainer.steps < flags.steps) await writeCheckpoint(out, trainer, log, flags.lora !== undefined);
      }
    }
  } catch (error) {
    await report?.discard();
    throw error;
  } finally {
    bar?.stop();
  }
  if (isFirst) await writeModel(out, trainer, log, tokenizerFiles, flags.lora !== undefined);
  const parameters = trainer.names.reduce((sum, name) => sum + trainer.weight(name).length, 0);
  await report?.write(trainingPage({ texts: paths, out, recipe: flags.recipe, parameters, ...log }));
  const seconds = (performance.now() - started) / 1000;
  const [, validation] = log.validation.at(-1) ?? [];
  const bitsPerToken = validation === undefined ? undefined : validation / Math.LN2;
  const record = {
    steps: trainer.steps,
    loss: log.losses.at(-1),
    ...(isFirst ? { validation, bitsPerToken } : {}),
    tokensPerSecond: ((trainer.steps - first) * flags.batch * flags.context) / seconds,
    ...(ownRank === null
      ? {}
      : { rank, worldSize: size, weights: digestOfWeights(trainer), bytes: ownRank.exchange.bytes }),
  };
  await trainer.close();
  const heldOut = isFirst
    ? `held-out loss ${validation?.toFixed(4)} (${bitsPerToken?.toFixed(3)} bits a token), `
    : `rank ${rank} of ${size}, `;
  await print(
    flags.json
      ? JSON.stringify(record, null, 2)
      : `${record.steps} steps: loss ${record.loss?.toFixed(4)}, ${heldOut}${Math.round(record.tokensPerSecond)} tokens/s`,
  );
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

function tooShort(found: number, needed: number): BlockscaleError {
  return new BlockscaleError("option", {
    where: "train",
    expected: `at least ${needed} tokens of text, of which a twentieth is held out`,
    got: String(found),
    fix: "Give more text, or a smaller --context.",
  });
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

/** The files of the tokenizer: the one that was named, or else the model's, or else that of bytes. */
async function tokenizerOf(
  name: string | undefined,
  model: ReadonlyMap<string, Source> | null,
): Promise<Map<string, Source>> {
  const own = [...(model ?? [])].filter(([file]) => /^tokenizer(_config)?\.json$/.test(file));
  if (name === undefined && own.length > 0) return new Map(own);
  if (name === undefined || name === "bytes") return byteTokenizer();
  const bytes = await readFile(name).catch((cause) => {
    throw systemFault(name, "a tokenizer.json", cause);
  });
  return new Map([["tokenizer.json", new Blob([bytes as BlobPart])]]);
}

/**
 * The size of the vocabulary: the ids of the tokenizer, and at least those of the text.
 */
function vocabularyOf(tokenizer: Tokenizer, ids: Int32Array): number {
  return Math.max(tokenizer.vocabulary, ids.reduce((most, id) => Math.max(most, id), 0) + 1);
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
