import type { Source } from "../io/source.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { type Json, readJson } from "./json.ts";

/** How the vectors of a text's tokens become one: their mean, that of the first, or of the last. */
export type Pooling = "mean" | "cls" | "last";

/** What the files of sentence-transformers say, as far as there are any. */
export interface PoolingSettings {
  readonly pooling?: Pooling;
  readonly isNormalized?: boolean;
  /** Tokens of a text that are looked at. */
  readonly maxTokens?: number;
}

const MODES: readonly (readonly [key: string, pooling: Pooling])[] = [
  ["pooling_mode_cls_token", "cls"],
  ["pooling_mode_lasttoken", "last"],
  ["pooling_mode_mean_tokens", "mean"],
];

/**
 * Reads modules.json, the config.json of the pooling that it names, and sentence_bert_config.json.
 * @throws BlockscaleError `format`: damaged; `dialect`: another pooling
 */
export async function poolingOf(files: ReadonlyMap<string, Source>): Promise<PoolingSettings> {
  const modules = (await jsonOf(files, "modules.json")) as Json[] | undefined;
  const limits = (await jsonOf(files, "sentence_bert_config.json")) as Json | undefined;
  const length = limits?.max_seq_length;
  const common = Number.isSafeInteger(length) && (length as number) > 0 ? { length: length as number } : {};
  const path = Array.isArray(modules)
    ? modules.find(({ type }) => String(type).endsWith(".Pooling"))?.path
    : "1_Pooling";
  const name = `${String(path ?? "1_Pooling")}/config.json`;
  const pooling = (await jsonOf(files, name)) as Json | undefined;
  const isNormalized = Array.isArray(modules)
    ? { isNormalized: modules.some(({ type }) => String(type).endsWith(".Normalize")) }
    : {};
  if (pooling === undefined) return { ...common, ...isNormalized };
  const mode = MODES.find(([key]) => pooling[key] === true);
  if (mode === undefined) {
    throw new BlockscaleError("dialect", {
      where: name,
      expected: "a pooling by mean, first or last token",
      got:
        Object.keys(pooling)
          .filter((key) => pooling[key] === true)
          .join(", ") || "none",
      fix: 'Choose one: embed(texts, { pooling: "mean" }).',
    });
  }
  return { ...common, ...isNormalized, pooling: mode[1] };
}

async function jsonOf(files: ReadonlyMap<string, Source>, name: string): Promise<unknown> {
  const source = files.get(name);
  return source === undefined ? undefined : readJson(name, source);
}

/** Pools hidden states [tokens, size] to one vector [size]. */
export function pool(
  hidden: Float32Array,
  size: number,
  pooling: Pooling,
  isNormalized: boolean,
): Float32Array {
  const tokens = hidden.length / size;
  const sums = new Float64Array(size);
  const [first, last] = pooling === "cls" ? [0, 1] : pooling === "last" ? [tokens - 1, tokens] : [0, tokens];
  for (let token = first; token < last; token++)
    for (let i = 0; i < size; i++) sums[i]! += hidden[token * size + i]!;
  const length = isNormalized ? Math.hypot(...sums) || 1 : last - first;
  return Float32Array.from(sums, (sum) => sum / length);
}
