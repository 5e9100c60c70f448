import { editMember } from "../../safetensors/edit-json.ts";
import { JsonReader } from "../../safetensors/json.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import type { ValueType } from "../../tensor/tensor.ts";
import { type DialectName, type Document, dialects } from "../dialects/index.ts";
import type { Config } from "../read/checkpoint.ts";
import type { Plan } from "./plan.ts";

/** Members of config.json under which multimodal models keep the config of their language model. */
export const NESTED = ["text_config", "llm_config", "language_config"] as const;

const TORCH_DTYPES: Readonly<Record<ValueType, string>> = {
  bf16: "bfloat16",
  f16: "float16",
  f32: "float32",
};

/** Parses config.json. @throws BlockscaleError `format` */
export function parseConfig(where: string, text: string): Config {
  try {
    const config: unknown = JSON.parse(text);
    // What is to be edited later must be readable for that as well.
    const json = new JsonReader(text);
    json.space();
    readMembers(json);
    json.end();
    return config as Config;
  } catch (cause) {
    throw new BlockscaleError(
      "format",
      { where, expected: "a JSON object", got: (cause as Error).message, fix: "Repair the file." },
      { cause },
    );
  }
}

/** Members that are removed or set. */
const EDITED: ReadonlySet<string> = new Set([
  "quantization_config",
  "expert_dtype",
  "torch_dtype",
  "dtype",
  ...NESTED,
]);

/** Reads an object in which nothing to be edited stands twice: without the second, the first would count again. */
function readMembers(json: JsonReader): void {
  const seen = new Set<string>();
  json.object((key) => {
    if (EDITED.has(key) && seen.has(key)) json.fail(`${key} appears twice`);
    seen.add(key);
    if ((NESTED as readonly string[]).includes(key) && json.text[json.at] === "{") readMembers(json);
    else json.skip();
  });
}

/** Paths of the quantization_config in config.json: at the top, or nested. */
function quantizationPaths(config: Config): string[][] {
  const holders: string[][] = [[], ...NESTED.map((key) => [key])];
  return holders.flatMap((path) => {
    const holder = path.length === 0 ? config : config[path[0]!];
    const has = typeof holder === "object" && holder !== null && Object.hasOwn(holder, "quantization_config");
    return has ? [[...path, "quantization_config"]] : [];
  });
}

/**
 * config.json of a quantised checkpoint, and the other files its readers want. The quantization_config goes where
 * there was one, else to the top; all other text stays as it is.
 */
export function quantizedDocuments(text: string, config: Config, plan: Plan, to: DialectName): Document[] {
  const kept = keptModules(plan);
  const quantization = dialects[to].config(kept);
  const [place = ["quantization_config"], ...others] = quantizationPaths(config);
  let edited = editMember(text, place, quantization);
  for (const path of others) edited = editMember(edited, path, undefined);
  edited = editMember(edited, ["expert_dtype"], undefined);
  return [{ name: "config.json", text: edited }, ...(dialects[to].documents?.(kept) ?? [])];
}

/** config.json of a checkpoint with nothing quantised. */
export function plainDocuments(text: string, config: Config, type: ValueType): Document[] {
  let edited = text;
  for (const path of quantizationPaths(config)) edited = editMember(edited, path, undefined);
  edited = editMember(edited, ["expert_dtype"], undefined);
  for (const path of [[], ...NESTED.map((key) => [key])]) {
    const holder = (path.length === 0 ? config : config[path[0]!]) as Config | null | undefined;
    for (const key of ["torch_dtype", "dtype"]) {
      if (typeof holder?.[key] === "string") edited = editMember(edited, [...path, key], TORCH_DTYPES[type]);
    }
  }
  return [{ name: "config.json", text: edited }];
}

/** Modules whose weights stay in high precision and could be mistaken for quantised ones: matrices, by name. */
function keptModules(plan: Plan): string[] {
  const names = plan.tensors.flatMap(({ name, action, shape }) =>
    action === "copy" && shape.length >= 2 && name.endsWith(".weight")
      ? [name.slice(0, -".weight".length)]
      : [],
  );
  return names.sort();
}
