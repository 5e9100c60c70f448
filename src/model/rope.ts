import { BlockscaleError } from "../tensor/errors.ts";
import type { Json } from "./json.ts";
import { numberOf, optionalNumber } from "./json.ts";

/** Rotary positions: what angle each pair of a head turns by from one token to the next. */
export interface Rope {
  /** Values of a head that take part, two to a pair. */
  readonly dim: number;
  /** Frequencies of the dim / 2 pairs, in radians a token, rounded to float32 as the reference does. */
  readonly frequencies: Float32Array;
  /** What cos and sin are multiplied by (YaRN). */
  readonly factor: number;
  /** Whether neighbours are pairs, instead of values dim / 2 apart. */
  readonly isInterleaved: boolean;
}

/**
 * Frequencies of the kinds `default`, `linear`, `llama3` and `yarn`, as
 * transformers' `modeling_rope_utils` computes them.
 * @param parameters `rope_parameters`, or `rope_scaling` of older files
 * @throws BlockscaleError `dialect`: another kind
 */
export function ropeOf(
  where: string,
  parameters: Json,
  dim: number,
  context: number,
  isInterleaved: boolean,
): Rope {
  const base = numberOf(where, parameters, "rope_theta");
  const kind = String(parameters.rope_type ?? parameters.type ?? "default");
  const unscaled = Array.from({ length: dim / 2 }, (_, i) => base ** ((-2 * i) / dim));
  const rope = (frequencies: number[], factor = 1): Rope => ({
    dim,
    frequencies: Float32Array.from(frequencies),
    factor,
    isInterleaved,
  });
  if (kind === "default" || kind === "none") return rope(unscaled);
  const scale = numberOf(where, parameters, "factor");
  if (kind === "linear") return rope(unscaled.map((f) => f / scale));
  if (kind === "llama3") return rope(unscaled.map((f) => llama3(where, parameters, f, scale)));
  if (kind === "yarn") {
    const original = optionalNumber(where, parameters, "original_max_position_embeddings") ?? context;
    const shares = yarnShares(where, parameters, { dim, base, original });
    return rope(
      unscaled.map((f, i) => (f / scale) * (1 - shares[i]!) + f * shares[i]!),
      yarnFactor(where, parameters, scale),
    );
  }
  throw unknownKind(where, kind);
}

function unknownKind(where: string, kind: string): BlockscaleError {
  return new BlockscaleError("dialect", {
    where: `${where}: rope_type`,
    expected: "default, linear, llama3 or yarn",
    got: JSON.stringify(kind),
    fix: "Run this model with another program.",
  });
}

/** Slow pairs are slowed further by `scale`, fast ones left alone, and those between in part. */
function llama3(where: string, parameters: Json, frequency: number, scale: number): number {
  const low = numberOf(where, parameters, "low_freq_factor");
  const high = numberOf(where, parameters, "high_freq_factor");
  const original = numberOf(where, parameters, "original_max_position_embeddings");
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength > original / low) return frequency / scale;
  if (wavelength < original / high) return frequency;
  const smooth = (original / wavelength - low) / (high - low);
  return ((1 - smooth) * frequency) / scale + smooth * frequency;
}

/** For each pair, how much of its frequency stays as it was trained: 1 for the fast ones, 0 for the slow. */
function yarnShares(
  where: string,
  parameters: Json,
  { dim, base, original }: { dim: number; base: number; original: number },
): number[] {
  const fast = optionalNumber(where, parameters, "beta_fast") ?? 32;
  const slow = optionalNumber(where, parameters, "beta_slow") ?? 1;
  /** The pair that turns so many times in the original context. */
  const pairOf = (turns: number) => (dim * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(base));
  const isWhole = parameters.truncate !== false;
  const low = Math.max(isWhole ? Math.floor(pairOf(fast)) : pairOf(fast), 0);
  let high = Math.min(isWhole ? Math.ceil(pairOf(slow)) : pairOf(slow), dim - 1);
  if (low === high) high += 0.001;
  return Array.from({ length: dim / 2 }, (_, i) => 1 - Math.min(1, Math.max(0, (i - low) / (high - low))));
}

/** YaRN's temperature: 0.1 m ln(scale) + 1. */
export function yarnMscale(scale: number, m = 1): number {
  return scale <= 1 ? 1 : 0.1 * m * Math.log(scale) + 1;
}

function yarnFactor(where: string, parameters: Json, scale: number): number {
  const given = optionalNumber(where, parameters, "attention_factor");
  if (given !== undefined) return given;
  const m = optionalNumber(where, parameters, "mscale");
  const all = optionalNumber(where, parameters, "mscale_all_dim");
  return m && all ? yarnMscale(scale, m) / yarnMscale(scale, all) : yarnMscale(scale);
}
