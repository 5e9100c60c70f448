import type { Config } from "../read/checkpoint.ts";
import { configsOf } from "../read/quantization.ts";

// What config.json tells of a model, where names of tensors do not.

/**
 * Whether a matrix has a row for each token of the vocabulary: an
 * embedding, or a head, whatever it is called.
 */
export function isTableOfTokens([rows, cols]: readonly number[], config: Config | null): boolean {
  const configs = configsOf(config);
  return (
    configs.some(({ vocab_size: vocabulary }) => vocabulary === rows) &&
    configs.some(({ hidden_size: hidden, n_embd: width, d_model: features }) =>
      [hidden, width, features].includes(cols),
    )
  );
}

/** Models that use the names of GPT-2's transposed layers for linear ones. */
const LINEAR_LIKE_GPT2: ReadonlySet<unknown> = new Set(["gpt_bigcode", "gpt_neo"]);

/** Whether a weight is one that GPT-2 and its relatives store transposed. */
export function isConv1D(name: string, config: Config | null): boolean {
  return (
    !LINEAR_LIKE_GPT2.has(config?.model_type) &&
    /(^|\.)h\.\d+\.(attn|mlp|crossattention)\.(c_attn|c_fc|c_proj|q_attn)\.weight$/.test(name)
  );
}

/** Members of config.json that are configs of parts for something else than text. */
const MODALITY =
  /^(vision|visual|image|img|video|vit|audio|speech|sound|acoustic|semantic|protein|perceiver|qformer|thinker)(_\w+)?_config$/;

/** Whether config.json is that of a multimodal model. */
export function readsMoreThanText(config: Config | null): boolean {
  return Object.entries(config ?? {}).some(
    ([key, member]) => MODALITY.test(key) && typeof member === "object" && member !== null,
  );
}

/**
 * What the language model of a multimodal one is called, or its parts where they lie at the top. `dit` is
 * the transformer beside it that makes actions or pictures.
 */
const LANGUAGE_MODEL =
  /^((base_model|model|module|thinker)\.)*(language_model|text_model|llm|lm|language|vlm|dit|(text_)?decoder|transformer|backbone|gpt_neox|talker|mtp\w*|\w*layers|h|blocks)\./;

/**
 * Whether a tensor of a multimodal model is of its language model. What else lies at the top reads or makes
 * pictures or sound, under a name that may be new.
 */
export function isOfLanguageModel(name: string): boolean {
  return LANGUAGE_MODEL.test(name);
}
