import { openCheckpoint } from "../checkpoint/plan/folder.ts";
import { Engine } from "../engine/engine.ts";
import { isMap } from "../io/files.ts";
import type { Source } from "../io/source.ts";
import { compileForModels, compileForSharing } from "../model/build.ts";
import { modelConfigOf } from "../model/config.ts";
import { refuseUnless } from "../model/config-fields.ts";
import { type Json, optionalNumber } from "../model/json.ts";
import { loadWeights } from "../model/load.ts";
import { readRowsAsFloat32 } from "../model/loaded-tensor.ts";
import { locate } from "../model/locate.ts";
import type { Program } from "../model/program.ts";
import { Store } from "../model/store.ts";
import { isRecord, kindOf } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { canShare } from "../threads/start.ts";
import { instantiate, sharedMemory } from "../wasm/instantiate.ts";
import { OPTIMIZER, readOptimizer } from "./files.ts";
import { normalValues } from "./initial-values.ts";
import { LINEARS } from "./linears.ts";
import { ADAPTER, ADAPTER_CONFIG, initializeAdapters, isAdapter, readAdapters } from "./lora.ts";
import { TrainingMember, type TrainingSetup } from "./member.ts";
import { LocalTrainingMembers, type TrainingMembers, WorkerTrainingMembers } from "./members.ts";
import { checkOptions, type TrainerOptions } from "./options.ts";
import { notTrained, type Parameters } from "./parameters.ts";
import { Trainer } from "./trainer.ts";

/** A model with random weights: its config.json, and the seed of the weights. */
export interface NewModel {
  readonly config: Json;
  readonly seed: number;
}

/**
 * Creates a trainer for the model of a checkpoint, or for a new one. If the files hold the state of an
 * optimiser, as {@link Trainer.files} writes it, training continues with the same bits.
 * @param model the files of a checkpoint by name, or a config and a seed
 * @throws BlockscaleError `dialect`: an architecture that can be run but not trained; `format`, `io`,
 * `memory`, `option`
 */
export async function createTrainer(
  model: ReadonlyMap<string, Source> | NewModel,
  options: TrainerOptions = {},
): Promise<Trainer> {
  const settings = checkOptions(options);
  checkModel(model);
  options.signal?.throwIfAborted();
  const sharing = settings.threads > 1 && canShare() ? compileForSharing(options.variant) : undefined;
  const { module, variant } = sharing ?? compileForModels(options.variant);
  const memory = sharing && sharedMemory();
  const size = sharing ? settings.threads : 1;
  const opened = isFiles(model) ? await openCheckpoint(withoutState(model), "the model") : null;
  const json = isFiles(model) ? (opened!.checkpoint.config as Json | null) : model.config;
  const config = modelConfigOf(json);
  if (config.kind !== "decoder") throw notTrained(config);
  const { recipe, counts, moments, recompute, lora } = settings;
  const setup: TrainingSetup = { config, recipe, counts, moments, recompute, lora };
  const member = new TrainingMember(instantiate(module, memory), { member: 0, size }, null, setup);
  const { program, parameters } = member;
  if (!isFiles(model)) initialize(program, parameters, model.config, model.seed);
  else {
    const located = locate(config, opened!);
    const bias = located.find(({ tensor }) => tensor.key.endsWith(".bias"));
    if (bias !== undefined) throw notTrained(config);
    // Weights may be stored as codes, so they are loaded into a store first, and dequantised from there.
    const store = new Store(program.kernels, program.arena, "files");
    const engine = new Engine(instantiate(module, sharing && sharedMemory()), variant);
    await loadWeights(located, [store], { sources: opened!.sources, engine, signal: options.signal });
    takeWeights(program, parameters, store);
    store.drop("");
  }
  const files: ReadonlyMap<string, Source> = isFiles(model) ? model : new Map();
  const adapters = lora === null ? undefined : files.get(ADAPTER);
  if (adapters !== undefined) await readAdapters(program, parameters.trained, adapters);
  else if (lora !== null) initializeAdapters(program, parameters.all, settings.seed);
  const state = files.get(OPTIMIZER);
  const steps = state === undefined ? 0 : await readOptimizer(program, parameters.trained, moments, state);
  const members: TrainingMembers =
    memory === undefined
      ? new LocalTrainingMembers(member)
      : await WorkerTrainingMembers.open(size, module, memory, setup, options.workers);
  return new Trainer({ member, members, config, json: json!, settings, steps });
}

function isFiles(model: ReadonlyMap<string, Source> | NewModel): model is ReadonlyMap<string, Source> {
  return isMap(model);
}

/** @throws BlockscaleError `option` */
function checkModel(model: ReadonlyMap<string, Source> | NewModel): void {
  if (isFiles(model)) return;
  const isNew = isRecord(model) && isRecord(model.config) && Number.isSafeInteger(model.seed);
  if (isNew && Object.keys(model).length === 2) return;
  throw new BlockscaleError("option", {
    where: "createTrainer: model",
    expected: "a Map of the files of a checkpoint, or { config, seed }: an object and a whole number",
    got: isRecord(model) ? `an object of ${Object.keys(model).join(", ") || "nothing"}` : kindOf(model),
    fix: "In Node openFolder(path) makes the Map.",
  });
}

function withoutState(files: ReadonlyMap<string, Source>): Map<string, Source> {
  return new Map([...files].filter(([name]) => ![OPTIMIZER, ADAPTER, ADAPTER_CONFIG].includes(name)));
}

/**
 * Sets norms to 1, and matrices to normally distributed values with the standard deviation of config.json.
 * @throws BlockscaleError `dialect`: that is no number above 0
 */
function initialize(program: Program, parameters: Parameters, config: Json, seed: number): void {
  const key = "initializer_range";
  const deviation = optionalNumber("config.json", config, key) ?? 0.02;
  refuseUnless("config.json", key, deviation > 0, "more than 0", String(deviation));
  parameters.all.forEach(({ name, value, count, isMatrix }, i) => {
    if (isAdapter(name)) return;
    const values = program.view(value, count);
    if (isMatrix) normalValues(values, deviation, seed, i);
    else values.fill(1);
  });
}

/** Copies the weights of a store to the parameters, dequantised to float32. */
function takeWeights({ kernels, arena }: Program, parameters: Parameters, store: Store): void {
  for (const { name, value } of parameters.all) {
    if (isAdapter(name)) continue;
    const { slices, cols, rows } = store.get(keyOf(name));
    const slice = slices[0]!;
    if (slice.kind === "int7") throw new Error("integers cannot be trained");
    readRowsAsFloat32(kernels, arena, value, slice, 0, rows, cols);
  }
}

const KEYS: { readonly [part: string]: string } = {
  [LINEARS.q]: "attention.q",
  [LINEARS.k]: "attention.k",
  [LINEARS.v]: "attention.v",
  [LINEARS.o]: "attention.o",
  "self_attn.q_norm": "attention.q_norm",
  "self_attn.k_norm": "attention.k_norm",
  [LINEARS.gate]: "mlp.gate",
  [LINEARS.up]: "mlp.up",
  [LINEARS.down]: "mlp.down",
  input_layernorm: "attention_norm",
  post_attention_layernorm: "mlp_norm",
};

/** The key of a tensor in the store of the model's forward pass. */
function keyOf(name: string): string {
  const found = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(name);
  if (found !== null) return `${found[1]}.${KEYS[found[2]!]!}`;
  if (name === "model.norm.weight") return "norm";
  return name === "lm_head.weight" ? "head" : "embedding";
}
