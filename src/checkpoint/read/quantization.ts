import { shapeNamed } from "../../safetensors/display.ts";
import { isRecord } from "../../tensor/checks.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import type { Checkpoint, Config } from "./checkpoint.ts";
import { type Block, makers } from "./makers/index.ts";

/** Members of config.json under which multimodal models keep the config of their language model. */
export const NESTED = ["text_config", "llm_config", "language_config"] as const;

/** What the description of a quantisation is called; the second is the older name of compressed-tensors. */
export const QUANTIZATION_KEYS = ["quantization_config", "compression_config"] as const;

/**
 * The members of a header's `__metadata__` that describe a quantisation: ComfyUI's layers, and torchao's
 * classes of tensors, which `tensor_names` lists.
 */
export function metadataLabels(metadata: ReadonlyMap<string, string> | null): ReadonlySet<string> {
  const listed = ["tensor_names", ...namesIn(metadata?.get("tensor_names"))];
  const isTorchao = listed.some((name) => /^\s*\{\s*"_type"/.test(metadata?.get(name) ?? ""));
  const labels = ["_quantization_metadata", ...(isTorchao ? listed : [])];
  return new Set(labels.filter((key) => metadata?.has(key)));
}

function namesIn(text: string | undefined): string[] {
  try {
    const found: unknown = JSON.parse(text ?? "[]");
    return Array.isArray(found) ? found.filter((name) => typeof name === "string") : [];
  } catch {
    return [];
  }
}

/** Configs of language models, wherever they are: at the top, or nested in those of multimodal models. */
export function configsOf(config: Config | null): Config[] {
  const nested = NESTED.map((key) => config?.[key]);
  return [config, ...nested].filter((found): found is Config => typeof found === "object" && found !== null);
}

/**
 * Where config.json has members of some names, at the top or however deep: those further up first, then in
 * the order of the names.
 */
export function pathsOf(config: Config | null, keys: readonly string[]): string[][] {
  const found: string[][] = [];
  const look = (parent: Config, path: readonly string[]): void => {
    for (const [key, member] of Object.entries(parent)) {
      const at = [...path, key];
      if (keys.includes(key) && !isOfTokens(key, member)) found.push(at);
      else if (isObject(member)) look(member, at);
    }
  };
  if (config !== null) look(config, []);
  const sortKey = (path: readonly string[]) => path.length * keys.length + keys.indexOf(path.at(-1)!);
  return found.sort((a, b) => sortKey(a) - sortKey(b));
}

/** Whether a `compression_config` is about something else, such as tokens of pictures. */
function isOfTokens(key: string, member: unknown): boolean {
  const names = isObject(member) ? Object.keys(member) : [];
  return (
    key === "compression_config" &&
    !names.some((name) =>
      /^(quant_method|quantization_status|config_groups|format|sparsity_config)$/.test(name),
    )
  );
}

function isObject(value: unknown): value is Config {
  return isRecord(value);
}

/** The quantization_config of a model, at the top or nested; `null` where there is none. */
export function quantizationConfig(config: Config | null): Config | null {
  const found = pathsOf(config, QUANTIZATION_KEYS).map((path) =>
    path.reduce<unknown>((parent, key) => (parent as Config)[key], config),
  );
  return found.find(isObject) ?? null;
}

/** What the config files of a checkpoint say of its quantisation; `null` where they say nothing. */
export function quantizationOf({ config, modeloptConfig }: Checkpoint): Config | null {
  return quantizationConfig(config) ?? modeloptConfig ?? null;
}

/**
 * Refuses transforms of compressed-tensors (SpinQuant, QuIP) that a model applies while it runs: the weights
 * are no longer what it needs once nothing tells of them. Those of weights alone cancel each other out.
 * @throws BlockscaleError `dialect`
 */
export function refuseTransforms(quantization: Config | null): void {
  const groups = (quantization?.transform_config as Config | null | undefined)?.config_groups;
  if (!isObject(groups)) return;
  const applied = Object.entries(groups).filter(([, group]) => !isOfWeightsAlone(group));
  if (applied.length === 0) return;
  throw new BlockscaleError("dialect", {
    where: "config.json: quantization_config.transform_config",
    expected: "weights that serve without transforms of their inputs and outputs",
    got: `transforms that a model applies while it runs: ${applied.map(([name]) => name).join(", ")}`,
    fix: "Make plain weights with llm-compressor first. Nothing was written: without this config the weights would be wrong.",
  });
}

function isOfWeightsAlone(group: unknown): boolean {
  const apply = isObject(group) ? group.apply : undefined;
  return (
    Array.isArray(apply) &&
    apply.every((one: unknown) => isObject(one) && /^weight_/.test(String(one.location)))
  );
}

/** The largest side of a block that kernels can count with. */
const LARGEST_SIDE = 2 ** 31 - 1;

/**
 * The blocks that config.json names, in the words of whoever made it.
 * @throws BlockscaleError `dialect`: larger than any tensor
 */
export function configuredBlocks(config: Config | null): Block[] {
  const quantization = quantizationConfig(config);
  if (quantization === null) return [];
  const found = makers.flatMap(({ blocks }) => blocks?.(quantization) ?? []);
  return found.filter(isBlock).map((block) => {
    if (block.every((side) => side <= LARGEST_SIDE)) return block;
    throw new BlockscaleError("dialect", {
      where: "config.json: quantization_config",
      expected: "blocks of scales [rows, cols], each side at most 2^31 - 1",
      got: shapeNamed(block),
      fix: "Correct config.json: set the block used, such as [128, 128].",
    });
  });
}

function isBlock(found: unknown): found is Block {
  return Array.isArray(found) && found.length === 2 && found.every((n) => Number.isSafeInteger(n) && n > 0);
}
