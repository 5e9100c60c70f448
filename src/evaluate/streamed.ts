import { type OpenedCheckpoint, openCheckpoint } from "../checkpoint/plan/folder.ts";
import { Engine } from "../engine/engine.ts";
import type { Source } from "../io/source.ts";
import { compileForModels } from "../model/build.ts";
import { type DecoderConfig, modelConfigOf } from "../model/config.ts";
import { loadWeights } from "../model/load.ts";
import { type Located, locate } from "../model/locate.ts";
import { type Members, openMembers } from "../model/members.ts";
import { type AskedPrecisions, choosePrecisions } from "../model/precisions.ts";
import type { WeightForm } from "../model/store.ts";
import { checkVocabulary } from "../model/tokens.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { Variant } from "../wasm/builds.ts";
import { instantiate } from "../wasm/instantiate.ts";
import { checkContext } from "./evaluate.ts";

export interface StreamOptions extends AskedPrecisions {
  readonly threads?: number | undefined;
  /**
   * Whether no member (a thread with its share of the model) runs in this thread, even if there is one alone:
   * this thread has something else to do meanwhile.
   */
  readonly keepsThreadFree?: boolean | undefined;
  /**
   * Memory for a member that runs in this thread, of which there is one at a time. It does not shrink, and is
   * collected late: models that run one after another should share it.
   */
  readonly memory?: WebAssembly.Memory | undefined;
  /** The build of the kernels; the best one that runs here if left out. */
  readonly variant?: Variant | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A model and the chunks that it is to be run over; no weight is read yet. */
export interface StreamPlan {
  readonly opened: OpenedCheckpoint;
  readonly config: DecoderConfig;
  /** Where the model's weights are. */
  readonly located: readonly Located[];
  readonly ids: Int32Array;
  /** Tokens of a chunk. */
  readonly context: number;
}

/**
 * Finds out whether a model can be run over chunks of tokens, from its config and the headers of its files.
 * @param files as `openModel` takes them
 * @param ids chunks of `context` tokens; what is left over is not looked at
 * @throws BlockscaleError `dialect`: an architecture that is not known; `option`: as `decoderFor`; `io`
 */
export async function planStreamed(
  files: ReadonlyMap<string, Source>,
  ids: Int32Array,
  context: number,
): Promise<StreamPlan> {
  const opened = await openCheckpoint(files, "the model");
  const config = decoderFor("evaluate", opened, ids, context);
  const located = locate(config, opened);
  const hasHead = config.isTied || located.some(({ tensor }) => tensor.key === "head");
  if (!hasHead) throw noHead(config.architecture);
  return { opened, config, located, ids, context };
}

/**
 * The config of a model that can be run over chunks of tokens.
 * @param where the caller's name, for messages
 * @throws BlockscaleError `option`: an encoder, a context that is too long or odd, too few ids, or ids
 * outside the vocabulary; `dialect`
 */
export function decoderFor(
  where: string,
  { checkpoint }: OpenedCheckpoint,
  ids: Int32Array,
  context: number,
): DecoderConfig {
  const config = modelConfigOf(checkpoint.config);
  if (config.kind !== "decoder") throw noDecoder(where, config.architecture);
  if (context > config.context) throw tooLong(where, context, config.context);
  checkContext(context, ids.length);
  checkVocabulary(where, ids, config.vocabulary);
  return config;
}

/** Members that run a model, some weights at a time. */
export interface Runner {
  readonly members: Members;
  /** In which form they keep weights. */
  readonly weights: WeightForm;
  /** Loads weights into memory; the request `drop` removes them. */
  load(wanted: readonly Located[]): Promise<void>;
}

/**
 * Opens members, does something with them, and closes them: their memory, which does not shrink, is given
 * back.
 * @throws BlockscaleError `option`: there are no workers here; `wasm`
 */
export async function withRunner<T>(
  { opened, config }: StreamPlan,
  options: StreamOptions,
  action: (runner: Runner) => Promise<T>,
): Promise<T> {
  const { module, variant } = compileForModels(options.variant, options);
  const instance = instantiate(module);
  const engine = new Engine(instance, variant);
  const precisions = choosePrecisions(options, config, instance.kernels.hasTrueDots() === 1 ? engine : null);
  const { threads = 1, keepsThreadFree, memory } = options;
  const members = await openMembers(module, threads, precisions, { inWorkers: keepsThreadFree, memory });
  const { weights } = precisions;
  const { sources } = opened;
  const { signal } = options;
  try {
    return await action({
      members,
      weights,
      load: (wanted) => loadWeights(wanted, members.receivers, { sources, engine, weights, signal }),
    });
  } finally {
    await members.close();
  }
}

function noDecoder(where: string, architecture: string): BlockscaleError {
  return new BlockscaleError("option", {
    where,
    expected: "a model that predicts tokens",
    got: `${architecture}, an encoder`,
    fix: "Compare encoders by the vectors they give: blockscale embed.",
  });
}

function noHead(architecture: string): BlockscaleError {
  return new BlockscaleError("dialect", {
    where: "lm_head.weight",
    expected: "a model that predicts tokens",
    got: `${architecture} without it`,
    fix: "Fetch the missing shard, or compare the vectors: blockscale embed.",
  });
}

function tooLong(where: string, context: number, most: number): BlockscaleError {
  return new BlockscaleError("option", {
    where: `${where}: context`,
    expected: `at most ${most} tokens, which is the model's context`,
    got: String(context),
    fix: "Give a smaller context.",
  });
}
