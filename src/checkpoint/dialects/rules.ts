import { kindOf } from "../../tensor/checks.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import type { Config } from "../read/checkpoint.ts";
import type { PlainWeight, ScaledWeight } from "../read/weights.ts";
import { isConv1D, isOfLanguageModel, isTableOfTokens, readsMoreThanText } from "./structure.ts";

/**
 * Weights that stay in high precision unless asked for, and why. Tried in order against the tensor's name.
 */
export interface KeepRule {
  readonly pattern: RegExp;
  readonly reason: string;
}

/**
 * What FP8 checkpoints of DeepSeek, Qwen, GLM and MiniMax, and NVIDIA's ModelOpt by default, leave as it is.
 * A segment between dots is matched whole: `mlp.gate.weight` is a router, `mlp.gate_proj.weight` is not.
 */
export const KEEP_RULES: readonly KeepRule[] = [
  {
    pattern:
      /(^|\.)(visual|visual_tokenizer|visual_model|vision|vision_\w+|image_\w+|img_\w+|vit|vpm|sam_model|siglip\w*|clip\w*)\./,
    reason: "vision tower: small and sensitive",
  },
  {
    pattern:
      /(^|\.)(audio|audio_\w+|apm|speech_\w+|sound_\w+|tts|tts_\w+|code2wav|token2wav|vocoder|codec\w*|code_predictor)\./,
    reason: "audio or speech part: small and sensitive",
  },
  {
    pattern:
      /(^|\.)(\w*projector|mlp1|connector|\w*_connector|resampler|perceiver\w*|qformer|patch_merger|merger|\w*_adapter|\w*_bridge|aligner|multi_modal_\w+)\./,
    reason: "projector between towers: small and sensitive",
  },
  {
    pattern:
      /(^|\.)(\w*embed\w*|\w+_emb|wte|wpe|shared|relative_attention_bias|relative_bias|rel_pos\w*|position_ids|pos_emb\w*|token_type\w*)\.|^transformer\.w\./i,
    reason: "embedding: rows are looked up, not multiplied",
  },
  {
    pattern: /(^|\.)(lm_head|embed_out|output_layer|head|score|classifier)\.|^output\./,
    reason: "output head: errors go straight into the logits",
  },
  // A look back at each dot keeps the time in proportion to the length of the name, which may be megabytes.
  { pattern: /\.(?<=norm\w*\.)|(^|\.)ln_\w+\./, reason: "norm: a handful of values, sensitive" },
  {
    pattern: /(^|\.)(gate|router|shared_expert_gate|wg)\.|(^|\.)router\./,
    reason: "router gate: small, and its errors change which expert runs",
  },
  {
    pattern: /(^|\.)(eh_proj|weights_proj)\.|(^|\.)mtp\.fc\./,
    reason: "kept by DeepSeek: sensitive projection",
  },
  {
    pattern: /(^|\.)(conv1d|in_proj_a|in_proj_b|in_proj_ba|dt_proj|x_proj)\./,
    reason: "state-space or linear-attention parameter: sensitive",
  },
];

/** Options that choose the tensors to quantise, on top of the default rules: lists of patterns. */
export interface Selection {
  /** Weights to quantise although a default rule keeps them. */
  readonly also?: readonly string[];
  /**
   * An older name: of `also`, and of `only` where weights are dequantised.
   * @deprecated Say `also` or `only`.
   */
  readonly include?: readonly string[];
  /** Weights among which the rules choose, instead of all; `also` adds to them. */
  readonly only?: readonly string[];
  /** Weights to keep; stronger than all others. */
  readonly exclude?: readonly string[];
}

/** Names of the options of {@link Selection}. */
export const SELECTION = ["also", "include", "only", "exclude"] as const;

/**
 * Refuses a selection that is no lists of patterns, such as a single pattern.
 * @throws BlockscaleError `option`
 */
export function checkSelection(where: string, selection: Selection): void {
  for (const option of SELECTION) {
    const given: unknown = selection[option];
    if (given === undefined) continue;
    if (Array.isArray(given) && given.every((pattern) => typeof pattern === "string")) continue;
    throw new BlockscaleError("option", {
      where: `${where}: ${option}`,
      expected: "a list of patterns",
      got: kindOf(given),
      fix: 'Put patterns into a list: ["*.down_proj.weight"].',
    });
  }
}

/** Tells whether a name fits a pattern. */
export type Matcher = (name: string) => boolean;

/**
 * Compiles a pattern: a glob over the whole tensor name in which `*` stands for any text and `?` for one
 * character, or `re:` and a regular expression that may match anywhere, as in compressed-tensors.
 * @throws BlockscaleError `option`: no valid regular expression
 */
export function matcher(pattern: string): Matcher {
  if (!pattern.startsWith("re:")) return globMatcher(pattern);
  try {
    const regExp = new RegExp(pattern.slice(3), "u");
    return (name) => regExp.test(name);
  } catch (cause) {
    throw new BlockscaleError(
      "option",
      {
        where: "pattern",
        expected: "a regular expression after re:",
        got: JSON.stringify(pattern),
        fix: "Correct the regular expression; a glob such as *.mlp.* needs no re: in front.",
      },
      { cause },
    );
  }
}

/**
 * Looks for the parts between the stars one behind the other. The first place that fits a
 * part is as good as any, since it leaves most of the name to the others: no place is tried
 * twice, as `.*` of a regular expression would.
 */
function globMatcher(glob: string): Matcher {
  const parts = glob
    .split("*")
    .map((part) => part.replace(/[.+^${}()|[\]\\/]/g, "\\$&").replaceAll("?", "[^]"));
  parts[0] = `^${parts[0]}`;
  parts[parts.length - 1] += "$";
  const searches = parts.map((part) => new RegExp(part, "gu"));
  return (name) => {
    let at = 0;
    return searches.every((search) => {
      search.lastIndex = at;
      const isFound = search.test(name);
      at = search.lastIndex;
      return isFound;
    });
  };
}

/**
 * Refuses patterns of a selection that fit no tensor, see {@link refuseUnmatched}.
 * @throws BlockscaleError `option`
 */
export function refuseUnmatchedSelection(
  selection: Selection,
  weights: readonly { readonly name: string }[],
): void {
  for (const option of SELECTION) refuseUnmatched(option, selection[option], weights);
}

/**
 * Refuses patterns that fit no tensor: what was meant to be kept or converted would silently not be.
 * @param option as the caller wrote it
 * @throws BlockscaleError `option`
 */
export function refuseUnmatched(
  option: string,
  patterns: readonly string[] | undefined,
  weights: readonly { readonly name: string }[],
): void {
  if (weights.length === 0) return;
  for (const pattern of patterns ?? []) {
    const fits = matcher(pattern);
    if (weights.some(({ name }) => fits(name))) continue;
    throw new BlockscaleError("option", {
      where: `${option}: ${JSON.stringify(pattern)}`,
      expected: "a pattern that fits the name of at least one tensor",
      got: `none of ${weights.length} names, such as ${JSON.stringify(weights[0]!.name.slice(0, 100))}`,
      fix: "Patterns fit whole names: write *.down_proj.weight, or re: and a regular expression.",
    });
  }
}

/** A pattern of an option, and how many tensors it fits. */
export interface Matched {
  readonly option: string;
  readonly pattern: string;
  readonly tensors: number;
}

/** How many tensors each pattern of a selection fits, and each of the overrides. */
export function matchesOf(
  selection: Selection & { readonly overrides?: readonly { readonly pattern: string }[] },
  weights: readonly { readonly name: string }[],
): Matched[] {
  const count = (option: string, pattern: string): Matched => {
    const fits = matcher(pattern);
    return { option, pattern, tensors: weights.filter(({ name }) => fits(name)).length };
  };
  return [
    ...SELECTION.flatMap((option) => (selection[option] ?? []).map((pattern) => count(option, pattern))),
    ...(selection.overrides ?? []).map(({ pattern }) => count("overrides", pattern)),
  ];
}

/** Why a weight stays as it is if it fits no pattern of `only`. */
export const NOT_CHOSEN = "not chosen";

/** Whether to quantise, and the reason where not. */
export type Verdict = { readonly quantize: true } | { readonly quantize: false; readonly reason: string };

/**
 * Compiles a selection into the decision for one weight.
 * @param isQuantised whether the checkpoint holds scaled weights already:
 * then its plain ones were kept on purpose
 * @param config config.json, which tells what names do not
 * @returns the decision; `stack` says whether loaders of the dialect read a 3-D
 * weight as a stack of experts, or why not
 */
export function compileSelection(
  selection: Selection,
  isQuantised: boolean,
  config: Config | null = null,
): (weight: PlainWeight | ScaledWeight, stack?: true | string) => Verdict {
  const also = [...(selection.also ?? []), ...(selection.include ?? [])].map(matcher);
  const only = selection.only?.map(matcher);
  const exclude = (selection.exclude ?? []).map(matcher);
  const isMultimodal = readsMoreThanText(config);
  return ({ name, shape, kind }, stack = "not 2-D") => {
    if (exclude.some((fits) => fits(name))) return { quantize: false, reason: "excluded" };
    if (shape.length < 2) return { quantize: false, reason: "not a matrix" };
    if (also.some((fits) => fits(name))) return { quantize: true };
    if (only?.some((fits) => fits(name)) === false) return { quantize: false, reason: NOT_CHOSEN };
    if (kind === "scaled" && shape.length === 2) return { quantize: true };
    if (kind === "plain" && isQuantised)
      return { quantize: false, reason: "kept by whoever quantised the checkpoint" };
    if (shape.length === 3) return stack === true ? { quantize: true } : { quantize: false, reason: stack };
    if (shape.length > 2) return { quantize: false, reason: "not 2-D" };
    if (!name.endsWith(".weight")) return { quantize: false, reason: "not the weight of a linear layer" };
    if (isTableOfTokens(shape, config)) return { quantize: false, reason: "embedding: a row for each token" };
    if (isConv1D(name, config)) return { quantize: false, reason: "GPT-2's Conv1D: stored as [in, out]" };
    const rule = KEEP_RULES.find(({ pattern }) => pattern.test(name));
    if (rule !== undefined) return { quantize: false, reason: rule.reason };
    return isMultimodal && !isOfLanguageModel(name)
      ? { quantize: false, reason: "part of a multimodal model that is not known as its language model" }
      : { quantize: true };
  };
}
