import { openCheckpoint } from "../checkpoint/plan/folder.ts";
import { Engine } from "../engine/engine.ts";
import type { Source } from "../io/source.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { instantiate } from "../wasm/instantiate.ts";
import { fetchModule } from "../wasm/module.ts";
import { compileForModels } from "./build.ts";
import { modelConfigOf } from "./config.ts";
import { loadWeights } from "./load.ts";
import { type Located, locate, memoryOf } from "./locate.ts";
import { openMembers } from "./members.ts";
import { Model } from "./model.ts";
import { checkOptions, type ModelOptions } from "./options.ts";
import { poolingOf } from "./pooling.ts";
import { choosePrecisions } from "./precisions.ts";
import type { WeightForm } from "./store.ts";
import type { Tokenizer } from "./tokenizer.ts";

/**
 * Opens a model of a checkpoint: FP8 weights of every dialect that is read here stay codes in memory, and so
 * do those of MXFP4 and NVFP4, as FP8 codes of the same values; BF16, F16 and F32 stay as they are.
 * @param files config.json, the shards, and tokenizer.json where there is one, by name
 * @throws BlockscaleError `dialect`: an architecture or a format that is not
 * known; `format`, `io`, `memory`, `option`
 */
export async function openModel(
  files: ReadonlyMap<string, Source>,
  options: ModelOptions = {},
): Promise<Model> {
  const threads = checkOptions(options);
  const { signal, onProgress } = options;
  signal?.throwIfAborted();
  const opened = await openCheckpoint(files, "the model");
  const config = modelConfigOf(opened.checkpoint.config);
  const located = locate(config, opened);
  const pooling = await poolingOf(files);
  const tokenizer = await tokenizerOf(files);
  const { module, variant } =
    options.wasm === undefined
      ? compileForModels(options.variant, options)
      : { module: await fetchModule(options.wasm), variant: "custom" as const };
  const instance = instantiate(module);
  const engine = new Engine(instance, variant);
  const precisions = choosePrecisions(options, config, instance.kernels.hasTrueDots() === 1 ? engine : null);
  const { weights } = precisions;
  refuseTooLarge(located, threads, weights);
  const members = await openMembers(module, threads, precisions, { lender: options.workers });
  try {
    const { sources } = opened;
    await loadWeights(located, members.receivers, { sources, engine, weights, signal, onProgress });
    await members.start(config);
  } catch (error) {
    await members.close();
    throw error;
  }
  return new Model(members, precisions, { config, tokenizer, pooling });
}

/**
 * What a member's memory holds of weights: 4 GiB, less what
 * activations and the cache of a short context take.
 */
const MOST_BYTES = 3.75 * 2 ** 30;

function refuseTooLarge(located: readonly Located[], threads: number, weights: WeightForm): void {
  const bytes = located.reduce((sum, one) => sum + memoryOf(one, weights), 0);
  if (bytes <= threads * MOST_BYTES) return;
  const gigabytes = (n: number) => `${(n / 2 ** 30).toFixed(1)} GiB`;
  throw new BlockscaleError("memory", {
    where: "openModel",
    expected: `at most ${gigabytes(threads * MOST_BYTES)} of weights in ${threads} thread${threads === 1 ? "" : "s"}`,
    got: gigabytes(bytes),
    fix: `Each thread has a memory of its own: open it with threads: ${Math.ceil(bytes / MOST_BYTES)}.`,
  });
}

/** The tokenizer of a model. Its code is loaded only where the model has a vocabulary. */
async function tokenizerOf(files: ReadonlyMap<string, Source>): Promise<Tokenizer | null> {
  if (!files.has("tokenizer.json")) return null;
  return (await import("./tokenizer.ts")).openTokenizer(files);
}
