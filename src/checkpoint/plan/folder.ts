import { checkFiles } from "../../io/files.ts";
import { readText, type Source } from "../../io/source.ts";
import { quotedTensor } from "../../safetensors/display.ts";
import { byteLength } from "../../safetensors/dtype.ts";
import { readHeader } from "../../safetensors/read.ts";
import { parseIndex, type ShardIndex, serializeIndex } from "../../safetensors/shards.ts";
import { isRecord } from "../../tensor/checks.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { checkChoice } from "../../tensor/options.ts";
import type { ValueType } from "../../tensor/tensor.ts";
import type { DialectName, OutputText } from "../dialects/index.ts";
import { matcher, refuseUnmatched } from "../dialects/rules.ts";
import {
  type Checkpoint,
  type Config,
  checkCheckpoint,
  readCheckpoint,
  storedTensors,
} from "../read/checkpoint.ts";
import { quantizationConfig } from "../read/quantization.ts";
import { parseConfig, plainDocuments, quantizedDocuments } from "./config.ts";
import { ALREADY_REASON, checkPlan, type Plan } from "./plan.ts";

const CONFIG = "config.json";
const MODELOPT_CONFIG = "hf_quant_config.json";
/** Names of a model that is one file. */
const SINGLE_FILES = ["model.safetensors", "diffusion_pytorch_model.safetensors"];
const INDEX_SUFFIX = ".safetensors.index.json";

/** A checkpoint that has been opened: its headers, where its bytes are, and the files around it. */
export interface OpenedCheckpoint {
  readonly checkpoint: Checkpoint;
  /** Bytes of the shards, in the order of the checkpoint. */
  readonly sources: readonly Source[];
  /** config.json as it stands; `null` where there is none. */
  readonly configText: string | null;
  /** The index with its name; `null` where there is none. */
  readonly index: { readonly name: string; readonly content: ShardIndex } | null;
  /** Files that are left out: a second copy of the model in another layout. */
  readonly leftOut: readonly string[];
  /** Safetensors files that are no part of the model, such as adapters. They are carried over as they are. */
  readonly unread: readonly string[];
  /** Names of all other files: tokenizer, code, licence. They are carried over. */
  readonly others: readonly string[];
}

/**
 * Opens the files of a checkpoint folder, or a single .safetensors file.
 * @param files sources by name relative to the folder; a single file may have any name
 * @param where names the folder in errors
 * @throws BlockscaleError `format` or `io`: no shards, an index that contradicts them, damaged headers
 */
export async function openCheckpoint(
  files: ReadonlyMap<string, Source>,
  where = "the checkpoint",
): Promise<OpenedCheckpoint> {
  checkFiles(where, files);
  const config = files.get(CONFIG);
  const configText = config === undefined ? null : await readText(CONFIG, config);
  const index = await readIndex(files);
  const shards = index === null ? shardsWithoutIndex(files, where) : shardsOfIndex(index, files);
  const sources = new Map(shards.map((name) => [name, files.get(name)!]));
  const parsed = configText === null ? null : parseConfig(CONFIG, configText);
  const read = await readCheckpoint(sources, parsed);
  // What config.json says of the quantisation comes first.
  const modeloptConfig = quantizationConfig(parsed) === null ? await modeloptConfigOf(files) : null;
  const checkpoint = modeloptConfig === null ? read : { ...read, modeloptConfig };
  if (index !== null) checkAgainstIndex(checkpoint, index);
  const leftOut = shards.some(isMistralFile) ? [] : [...files.keys()].filter(isMistralFile);
  const taken = new Set([...shards, ...leftOut, CONFIG, MODELOPT_CONFIG, index?.name]);
  const others = [...files.keys()].filter((name) => !taken.has(name));
  const unread = others.filter((name) => name.endsWith(".safetensors"));
  if (index !== null) await refuseUnlistedShards(index.name, shards, unread, files);
  return { checkpoint, sources: [...sources.values()], configText, index, leftOut, unread, others };
}

/**
 * Keeps only those .safetensors files that fit a pattern: the patterns say which of several models in a
 * folder is meant. An index stays only if all files of its name do.
 * @throws BlockscaleError `option`: a pattern that fits no file
 */
export function chooseFiles<S>(
  files: ReadonlyMap<string, S>,
  patterns: readonly string[] | undefined,
): { readonly files: ReadonlyMap<string, S>; readonly leftOut: readonly string[] } {
  if (patterns === undefined) return { files, leftOut: [] };
  const weights = [...files.keys()].filter((name) => name.endsWith(".safetensors"));
  refuseUnmatched(
    "files",
    patterns,
    weights.map((name) => ({ name })),
  );
  const matchers = patterns.map(matcher);
  const isChosen = (name: string) => matchers.some((matches) => matches(name));
  // An index belongs to the files that are called like it: model.safetensors.index.json to model-00001-of-00002.safetensors.
  const isIndexOfChosen = (name: string) => {
    const stem = name.slice(0, -INDEX_SUFFIX.length);
    return weights.filter((weight) => weight.startsWith(stem)).every(isChosen);
  };
  const leftOut = [...files.keys()].filter((name) =>
    name.endsWith(".safetensors") ? !isChosen(name) : name.endsWith(INDEX_SUFFIX) && !isIndexOfChosen(name),
  );
  const others = [...files].filter(([name]) => !leftOut.includes(name));
  return { files: new Map(others), leftOut };
}

/** What hf_quant_config.json says of the quantisation; `null` where there is no such file. */
async function modeloptConfigOf(files: ReadonlyMap<string, Source>): Promise<Config | null> {
  const file = files.get(MODELOPT_CONFIG);
  if (file === undefined) return null;
  const { quantization } = parseConfig(MODELOPT_CONFIG, await readText(MODELOPT_CONFIG, file));
  return isRecord(quantization) ? (quantization as Config) : {};
}

async function readIndex(files: ReadonlyMap<string, Source>): Promise<OpenedCheckpoint["index"]> {
  const all = [...files.keys()].filter((name) => name.endsWith(INDEX_SUFFIX) && !name.includes("/"));
  const hasOthers = [...files.keys()].some((name) => isShard(name) && !isMistralFile(name));
  const names = files.has(CONFIG) && hasOthers ? all.filter((name) => !isMistralFile(name)) : all;
  const name = names.includes(`model${INDEX_SUFFIX}`) ? `model${INDEX_SUFFIX}` : names[0];
  if (name === undefined) return null;
  return { name, content: parseIndex(name, await readText(name, files.get(name)!)) };
}

function shardsOfIndex(
  { name, content }: NonNullable<OpenedCheckpoint["index"]>,
  files: ReadonlyMap<string, Source>,
) {
  const shards = [...new Set(content.weightMap.values())].sort();
  const missing = shards.filter((shard) => !files.has(shard));
  if (missing.length > 0) {
    throw new BlockscaleError("format", {
      where: name,
      expected: `all of its ${shards.length} files`,
      got: `${missing.length} missing: ${missing.slice(0, 5).join(", ")}${missing.length > 5 ? ", ..." : ""}`,
      fix: "Fetch the missing files.",
    });
  }
  return shards;
}

/** The set that a shard belongs to by its name: what stands before its number, and how many there are. */
export function shardSetOf(name: string): string | undefined {
  return /^(.*)-\d{5}-of-(\d{5})\.safetensors$/.exec(name)?.slice(1).join();
}

/**
 * Refuses an index that leaves out shards of the set it lists: their tensors would stay as they are, while
 * config.json tells of the others. A shard without tensors has no place in an index.
 */
async function refuseUnlistedShards(
  where: string,
  shards: readonly string[],
  unread: readonly string[],
  files: ReadonlyMap<string, Source>,
): Promise<void> {
  const sets = new Set(shards.map(shardSetOf));
  for (const name of unread) {
    const set = shardSetOf(name);
    if (set === undefined || !sets.has(set)) continue;
    const { tensors } = await readHeader(name, files.get(name)!);
    if (tensors.length === 0) continue;
    throw new BlockscaleError("format", {
      where,
      expected: "the tensors of all shards",
      got: `none of ${name}, which holds ${tensors.length}`,
      fix: "The index is of another version of the model: fetch it again, or remove that file.",
    });
  }
}

function shardsWithoutIndex(files: ReadonlyMap<string, Source>, where: string): string[] {
  if (files.size === 1 && !files.has(CONFIG)) return [...files.keys()];
  const all = [...files.keys()].filter(isShard).sort();
  const ours = all.filter((name) => !isMistralFile(name));
  // Loaders of transformers and diffusers take this one alone, whatever lies beside it.
  const whole = SINGLE_FILES.find((name) => files.has(CONFIG) && all.includes(name));
  if (whole !== undefined) return [whole];
  const shards = files.has(CONFIG) && ours.length > 0 ? ours : all;
  if (shards.length === 0) {
    throw new BlockscaleError("format", {
      where,
      expected: "at least one .safetensors file",
      got: files.size === 0 ? "an empty folder" : [...files.keys()].slice(0, 5).join(", "),
      fix: files.has("model_index.json")
        ? "This is a pipeline of several models: give the folder of one of them."
        : [...files.keys()].some((name) => /\.(bin|pt|pth|ckpt)$/.test(name))
          ? "PyTorch's own files are not read: look for the model as .safetensors, or save it so with transformers."
          : "Give the folder that holds the .safetensors files.",
    });
  }
  return shards;
}

function isShard(name: string): boolean {
  return name.endsWith(".safetensors") && !name.includes("/");
}

/**
 * Files of Mistral's own layout, which lie beside those of transformers as a second copy of the same model.
 */
function isMistralFile(name: string): boolean {
  return /^consolidated[^/]*\.safetensors(\.index\.json)?$|^params\.json$/.test(name);
}

/** Refuses an index that names another file for a tensor than the one that holds it. */
function checkAgainstIndex(
  checkpoint: Checkpoint,
  { name, content }: NonNullable<OpenedCheckpoint["index"]>,
): void {
  const owners = new Map(
    storedTensors(checkpoint).map((place) => [place.name, checkpoint.shards[place.shard]!.name]),
  );
  for (const [tensor, shard] of content.weightMap) {
    if (owners.get(tensor) === shard) continue;
    throw new BlockscaleError("format", {
      where: `${name}: ${quotedTensor(tensor)}`,
      expected: `it in ${shard}`,
      got: owners.has(tensor) ? `it in ${owners.get(tensor)}` : "no such tensor",
      fix: "Fetch the index and that file again.",
    });
  }
}

/**
 * Whether a file at the top of a folder would be read as a part of the
 * checkpoint there, whatever the others say.
 */
export function isOfCheckpoint(name: string): boolean {
  if (name.startsWith(".")) return false;
  return (
    name === CONFIG ||
    name === MODELOPT_CONFIG ||
    name.endsWith(".safetensors") ||
    name.endsWith(INDEX_SUFFIX)
  );
}

/** What the conversion makes of the checkpoint: codes and scales of a dialect, or plain values. */
export type Direction =
  | { readonly kind: "quantize"; readonly to: DialectName }
  | { readonly kind: "dequantize"; readonly dtype: ValueType };

/**
 * The text files that a converted checkpoint needs besides its shards:
 * config.json and the index, where there were any.
 * @throws BlockscaleError `dialect`: some weights would stay in another dialect than config.json can tell
 */
export function documentsOf(opened: OpenedCheckpoint, plan: Plan, direction: Direction): OutputText[] {
  checkCheckpoint("documentsOf: opened.checkpoint", opened?.checkpoint);
  checkPlan("documentsOf", plan);
  checkChoice("documentsOf: direction.kind", direction?.kind, ["quantize", "dequantize"]);
  const { configText, checkpoint, index } = opened;
  const documents: OutputText[] = [];
  if (configText !== null && checkpoint.config !== null) {
    refuseMixedDialects(plan);
    documents.push(
      ...(direction.kind === "quantize"
        ? quantizedDocuments(configText, checkpoint.config, plan, direction.to)
        : plainDocuments(configText, checkpoint.config, direction.dtype)),
    );
  }
  if (index !== null) {
    const tensors = plan.files.flatMap(({ name, steps }) =>
      steps.flatMap((step) => step.tensors.map((tensor) => [tensor, name] as const)),
    );
    const weightMap = new Map(tensors.map(([tensor, file]) => [tensor.name, file]));
    const totalSize = tensors.reduce((n, [{ dtype, shape }]) => n + byteLength(dtype, shape)!, 0);
    const { total_parameters: _, ...metadata } = index.content.metadata;
    documents.push({ name: index.name, text: serializeIndex({ metadata, weightMap }, totalSize) });
  }
  return documents;
}

function refuseMixedDialects(plan: Plan): void {
  const left = plan.tensors.find(
    ({ action, wasScaled, reason }) => action === "copy" && wasScaled && reason !== ALREADY_REASON,
  );
  if (left === undefined) return;
  throw new BlockscaleError("dialect", {
    where: quotedTensor(left.name),
    expected: "every quantised weight in one dialect, the only thing config.json can tell",
    got: `one that would stay as it is: ${left.reason}`,
    fix: "Dequantise the checkpoint first, or do not exclude the weight.",
  });
}
