import { editMember } from "../../safetensors/edit-json.ts";
import { JsonReader } from "../../safetensors/json.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import type { ValueType } from "../../tensor/tensor.ts";
import { type DialectName, dialects, type OutputText } from "../dialects/index.ts";
import type { Config } from "../read/checkpoint.ts";
import { NESTED, pathsOf, QUANTIZATION_KEYS } from "../read/quantization.ts";
import { ALREADY_REASON, type Plan } from "./plan.ts";

const TORCH_DTYPES: Readonly<Record<ValueType, string>> = {
  bf16: "bfloat16",
  f16: "float16",
  f32: "float32",
};

/** Parses config.json. @throws BlockscaleError `format` */
export function parseConfig(where: string, text: string): Config {
  try {
    const config: unknown = JSON.parse(withoutPythonNumbers(text));
    // What is to be edited later must be readable for that as well.
    const json = new JsonReader(text, { python: true });
    json.space();
    checkMembers(json);
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

/**
 * JSON text with the numbers that Python writes and JSON does not know (Infinity,
 * -Infinity, NaN) as null, outside of strings. The text itself is edited with them in their
 * places, so they are written back as they were.
 */
function withoutPythonNumbers(text: string): string {
  return text.replace(/"(?:[^"\\]|\\[\s\S])*"|-?\bInfinity\b|\bNaN\b/g, (found) =>
    found.startsWith('"') ? found : "null",
  );
}

/** Members that are removed or set wherever they are. */
const LABELS: readonly string[] = [...QUANTIZATION_KEYS, "expert_dtype"];
/** Members that are set at the top and in {@link NESTED}. */
const DTYPES: readonly string[] = ["torch_dtype", "dtype"];

/**
 * Reads an object. Fails where a member appears twice that is to be edited, or that holds such a one: only
 * the last of the two is edited, and once that is removed, the first would count again.
 * @returns whether anything in it is to be edited
 */
function checkMembers(json: JsonReader, path: readonly string[] = []): boolean {
  const holdsDtypes = path.length === 0 || (path.length === 1 && NESTED.some((key) => key === path[0]));
  const seen = new Map<string, boolean>();
  json.object((key) => {
    let isEdited = LABELS.includes(key) || (holdsDtypes && DTYPES.includes(key));
    if (json.text[json.at] === "{") isEdited = checkMembers(json, [...path, key]) || isEdited;
    else json.skip();
    const before = seen.get(key);
    if (before !== undefined && (before || isEdited)) json.fail(`${key} appears twice`);
    seen.set(key, isEdited);
  });
  return [...seen.values()].includes(true);
}

/**
 * config.json of a quantised checkpoint, and the other files its readers want. The quantization_config goes
 * where there was one, else to the top; all other text stays as it is.
 */
export function quantizedDocuments(text: string, config: Config, plan: Plan, to: DialectName): OutputText[] {
  const kept = keptModules(plan);
  const isQuantised = plan.tensors.some(({ action, reason, after }) =>
    action === "copy" ? reason === ALREADY_REASON : after.dtype !== null,
  );
  // A label without quantised weights would make loaders look for them.
  const quantization = isQuantised ? dialects[to].config(kept, formatsOf(plan)) : undefined;
  const paths = pathsOf(config, LABELS);
  const place = paths.find((path) => path.at(-1) === "quantization_config") ?? ["quantization_config"];
  // The expert_dtype at the top is set below.
  const others = paths.filter((path) => path !== place && path[0] !== "expert_dtype");
  let edited = editMember(text, place, quantization);
  for (const path of others) edited = editMember(edited, path, undefined);
  if (!isQuantised) return [{ name: "config.json", text: edited }];
  edited = editMember(edited, ["expert_dtype"], dialects[to].members?.expert_dtype);
  return [{ name: "config.json", text: edited }, ...(dialects[to].documents?.(kept) ?? [])];
}

/** Modules by the names of their formats. */
function formatsOf({ tensors }: Plan): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const { name, format } of tensors) {
    if (format === undefined) continue;
    found.set(format, [...(found.get(format) ?? []), name.replace(/\.weight$/, "")]);
  }
  return found;
}

/** config.json of a checkpoint with nothing quantised. */
export function plainDocuments(text: string, config: Config, type: ValueType): OutputText[] {
  let edited = text;
  for (const path of pathsOf(config, LABELS)) edited = editMember(edited, path, undefined);
  for (const path of [[], ...NESTED.map((key) => [key])]) {
    const parent = (path.length === 0 ? config : config[path[0]!]) as Config | null | undefined;
    for (const key of DTYPES) {
      if (typeof parent?.[key] === "string") edited = editMember(edited, [...path, key], TORCH_DTYPES[type]);
    }
  }
  return [{ name: "config.json", text: edited }];
}

/**
 * Modules that stay in high precision and could be mistaken for quantised ones: those of matrices that
 * were kept. A tensor that is no `.weight`, such as stacked experts, stands for the module that holds it,
 * unless other tensors of that were converted.
 */
function keptModules(plan: Plan): string[] {
  const converted = plan.tensors.filter(({ after, action }) => action !== "copy" && after.dtype !== null);
  const names = plan.tensors.flatMap(({ name, action, reason, shape }) => {
    if (action !== "copy" || reason === ALREADY_REASON || shape.length < 2) return [];
    if (name.endsWith(".weight")) return [name.slice(0, -".weight".length)];
    const parent = name.slice(0, Math.max(0, name.lastIndexOf(".")));
    const isShared = parent === "" || converted.some((other) => other.name.startsWith(`${parent}.`));
    return [isShared ? name : parent];
  });
  // A head that shares the matrix of the embedding is a module all the same, and is in no file.
  const isTied = names.some((name) => /(^|\.)(embed_tokens|wte)$/.test(name));
  const hasHead = plan.tensors.some(({ name }) => /(^|\.)lm_head\.weight$/.test(name));
  return [...new Set(isTied && !hasHead ? [...names, "lm_head"] : names)].sort();
}
