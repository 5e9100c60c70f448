import { openCheckpoint } from "../checkpoint/plan/folder.ts";
import { Engine } from "../engine/engine.ts";
import type { Source } from "../io/source.ts";
import { compileForModels, compileForSharing } from "../model/build.ts";
import { modelConfigOf } from "../model/config.ts";
import type { Json } from "../model/json.ts";
import { loadWeights } from "../model/load.ts";
import { locate } from "../model/locate.ts";
import type { Program } from "../model/program.ts";
import { Store } from "../model/store.ts";
import type { FormatId } from "../tensor/formats.ts";
import { canShare } from "../threads/start.ts";
import { instantiate, sharedMemory } from "../wasm/instantiate.ts";
import { type Crew, LocalCrew, WorkerCrew } from "./crew.ts";
import { LINEARS } from "./linears.ts";
import { ADAPTER, ADAPTER_CONFIG, initializeAdapters, isAdapter, readAdapters } from "./lora.ts";
import { Member, type Plan } from "./member.ts";
import { checkOptions, type TrainerOptions } from "./options.ts";
import { notTrained, type Parameters } from "./parameters.ts";
import { normalValues } from "./random.ts";
import { OPTIMIZER, readOptimizer } from "./state.ts";
import { Trainer } from "./trainer.ts";
import { wrongOption } from "./wrong-option.ts";

/** A model to begin with: config.json and the seed of its random weights. */
export interface Beginning {
  readonly config: Json;
  readonly seed: number;
}

/**
 * Makes a trainer of a checkpoint, or of a config and a seed. Where the files hold the state of an optimiser,
 * as {@link Trainer.files} writes it, training goes on to the same bits.
 * @throws BlockscaleError `dialect`: an architecture that is run here but not
 * trained; `format`, `io`, `memory`, `option`
 */
export async function createTrainer(
  beginning: ReadonlyMap<string, Source> | Beginning,
  options: TrainerOptions = {},
): Promise<Trainer> {
  const settings = checkOptions(options);
  const sharing = settings.threads > 1 && canShare() ? compileForSharing(options.variant) : undefined;
  const { module, variant } = sharing ?? compileForModels(options.variant);
  const memory = sharing && sharedMemory();
  const size = sharing ? settings.threads : 1;
  const opened = isFiles(beginning) ? await openCheckpoint(withoutState(beginning), "the model") : null;
  const json = isFiles(beginning) ? (opened!.checkpoint.config as Json | null) : beginning.config;
  const config = modelConfigOf(json);
  if (config.kind !== "decoder") throw notTrained(config);
  const { recipe, counts, moments, recompute, lora } = settings;
  const plan: Plan = { config, recipe, counts, moments, recompute, lora };
  const member = new Member(instantiate(module, memory), { rank: 0, size }, null, plan);
  const { program, parameters } = member;
  if (!isFiles(beginning)) initialize(program, parameters, beginning.config, beginning.seed);
  else {
    const located = locate(config, opened!);
    const bias = located.find(({ wanted }) => wanted.key.endsWith(".bias"));
    if (bias !== undefined) throw notTrained(config);
    // By way of a store of its own, which is given back: weights may be codes, and are trained as what these
    // stand for.
    const store = new Store(program.kernels, program.arena, "files");
    const engine = new Engine(instantiate(module, sharing && sharedMemory()), variant);
    await loadWeights(located, [store], { sources: opened!.sources, engine, signal: options.signal });
    takeWeights(program, parameters, store);
    store.drop("");
  }
  const files: ReadonlyMap<string, Source> = isFiles(beginning) ? beginning : new Map();
  const adapters = lora === null ? undefined : files.get(ADAPTER);
  if (adapters !== undefined) await readAdapters(program, parameters.trained, adapters);
  else if (lora !== null) initializeAdapters(program, parameters.all, settings.seed);
  const state = files.get(OPTIMIZER);
  const steps = state === undefined ? 0 : await readOptimizer(program, parameters.trained, moments, state);
  const crew: Crew =
    memory === undefined ? new LocalCrew(member) : await WorkerCrew.open(size, module, memory, plan);
  return new Trainer({ member, crew, config, json: json!, settings, steps });
}

function isFiles(
  beginning: ReadonlyMap<string, Source> | Beginning,
): beginning is ReadonlyMap<string, Source> {
  return beginning instanceof Map;
}

function withoutState(files: ReadonlyMap<string, Source>): Map<string, Source> {
  return new Map([...files].filter(([name]) => ![OPTIMIZER, ADAPTER, ADAPTER_CONFIG].includes(name)));
}

/** Norms of 1, and normal values with the standard deviation that config.json names. */
function initialize(program: Program, parameters: Parameters, config: Json, seed: number): void {
  if (!Number.isSafeInteger(seed)) throw wrongOption("seed", "a whole number", seed);
  const deviation = typeof config.initializer_range === "number" ? config.initializer_range : 0.02;
  parameters.all.forEach(({ name, value, count, isMatrix }, i) => {
    if (isAdapter(name)) return;
    const values = program.view(value, count);
    if (isMatrix) normalValues(values, deviation, seed, i);
    else values.fill(1);
  });
}

/** The weights of a store, as float32 parameters. */
function takeWeights({ kernels }: Program, parameters: Parameters, store: Store): void {
  for (const { name, value, count } of parameters.all) {
    if (isAdapter(name)) continue;
    const { slices, cols, rows } = store.get(keyOf(name));
    const stored = slices[0]!;
    if (stored.kind === "int7") throw new Error("integers cannot be trained");
    if (stored.kind === "plain") kernels.widen(stored.type, value, stored.start, count);
    else {
      const { format, scaleType, codes, scales, blockRows, blockCols } = stored.matrix;
      const id = format as FormatId;
      kernels.dequantize(id, 0, scaleType, value, codes, scales, rows, cols, blockRows, blockCols);
    }
  }
}

const KEYS: { readonly [part: string]: string } = {
  [LINEARS.q]: "attention.q",
  [LINEARS.k]: "attention.k",
  [LINEARS.v]: "attention.v",
  [LINEARS.o]: "attention.o",
  "self_attn.q_norm": "attention.q_norm",
  "self_attn.k_norm": "attention.k_norm",
  [LINEARS.gate]: "block.gate",
  [LINEARS.up]: "block.up",
  [LINEARS.down]: "block.down",
  input_layernorm: "attention_norm",
  post_attention_layernorm: "block_norm",
};

/** What the forward pass of models calls a tensor. */
function keyOf(name: string): string {
  const found = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(name);
  if (found !== null) return `${found[1]}.${KEYS[found[2]!]!}`;
  if (name === "model.norm.weight") return "norm";
  return name === "lm_head.weight" ? "head" : "embedding";
}
