import { narrow, widen } from "../js/half.ts";
import { bitsOf, floatOf } from "../js/scale.ts";
import { VALUE_TYPE_ID } from "../tensor/formats.ts";
import type { DecoderConfig } from "./config.ts";
import { decoder, ropeParameters } from "./config-decoders.ts";
import { positive, refuseUnless } from "./config-fields.ts";
import { type Json, optionalNumber, optionalSize } from "./json.ts";

/** What config.json may leave out: the values of transformers' `Gemma3TextConfig`. */
const DEFAULTS: Json = {
  vocab_size: 262_208,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 256,
  hidden_activation: "gelu_pytorch_tanh",
  max_position_embeddings: 131_072,
  tie_word_embeddings: true,
  query_pre_attn_scalar: 256,
  sliding_window: 4096,
  rope_theta: 1e6,
  rope_local_base_freq: 1e4,
  sliding_window_pattern: 6,
};

/** What Gemma 2 and embedding models made of Gemma 3 have, and this package does not compute. */
const REFUSED = ["final_logit_softcapping", "attn_logit_softcapping", "use_bidirectional_attention"];

/**
 * Gemma 3, or the text part of one with vision: four norms a layer, norms of heads, scaled embeddings, and a
 * window in most layers, whose RoPE has a base of its own.
 */
export function gemma3(where: string, file: Json, name: string): DecoderConfig {
  const text = (file.text_config ?? {}) as Json;
  const config = withDefaults({ ...file, ...text, eos_token_id: text.eos_token_id ?? file.eos_token_id });
  for (const key of REFUSED) {
    const value = config[key] ?? false;
    refuseUnless(
      where,
      key,
      value === false,
      "no such field: this package does not compute it",
      String(value),
    );
  }
  const window = optionalSize(where, config, "sliding_window") ?? 0;
  const scalar = optionalNumber(where, config, "query_pre_attn_scalar") ?? 0;
  refuseUnless(where, "query_pre_attn_scalar", scalar > 0, "more than 0", String(scalar));
  const isLocal = localLayers(where, config);
  return decoder(where, config, name, {
    hasNorms: true,
    window: (layer) => (isLocal(layer) ? window : 0),
    ...ropesOf(config),
    attentionScale: scalar ** -0.5,
    embeddingScale: embeddingScaleOf(positive(where, config, "hidden_size"), config),
    normOffset: 1,
    hasPostNorms: true,
  });
}

function withDefaults(config: Json): Json {
  const given = Object.entries(config).filter(([, value]) => value !== undefined && value !== null);
  return { ...DEFAULTS, ...Object.fromEntries(given) };
}

/** Layers with a window: by name, or all but each sixth one. */
function localLayers(where: string, config: Json): (layer: number) => boolean {
  const types = config.layer_types;
  if (Array.isArray(types)) return (layer) => types[layer] === "sliding_attention";
  const pattern = positive(where, config, "sliding_window_pattern");
  return (layer) => (layer + 1) % pattern !== 0;
}

/** RoPE's parameters for both kinds of layers: files of transformers 5 keep them by kind. */
function ropesOf(config: Json): { rope: Json; localRope: Json } {
  const parameters = (config.rope_parameters ?? {}) as { readonly [kind: string]: Json | undefined };
  const { full_attention: full, sliding_attention: sliding } = parameters;
  return {
    rope: full ?? ropeParameters(config),
    localRope: sliding ?? { rope_type: "default", rope_theta: config.rope_local_base_freq },
  };
}

/** The root of the hidden size, in bfloat16 where the model is: 55.5 instead of 55.4256 for 3072. */
function embeddingScaleOf(hidden: number, config: Json): number {
  const scale = Math.fround(Math.sqrt(hidden));
  if ((config.dtype ?? config.torch_dtype) !== "bfloat16") return scale;
  const { bf16 } = VALUE_TYPE_ID;
  // A root of a whole number is halfway between two bfloat16 only where it is exact itself.
  return floatOf(widen(bf16, narrow(bf16, bitsOf(scale))));
}
