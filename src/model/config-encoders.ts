import type { EncoderConfig } from "./config.ts";
import { activationOf, endTokensOf, layerCount, positive, refuseUnless } from "./config-fields.ts";
import { type Json, optionalNumber, optionalSize } from "./json.ts";

/** BERT, RoBERTa and XLM-RoBERTa. */
export function encoder(where: string, config: Json, architecture: string): EncoderConfig {
  const hidden = positive(where, config, "hidden_size");
  const heads = positive(where, config, "num_attention_heads");
  refuseUnless(
    where,
    "num_attention_heads",
    hidden % heads === 0 && (hidden / heads) % 4 === 0,
    `heads of a multiple of 4 values of hidden_size, ${hidden}`,
    String(heads),
  );
  const positions = positive(where, config, "max_position_embeddings");
  // RoBERTa counts its positions from behind that of the padding token.
  const firstPosition = architecture.startsWith("Bert")
    ? 0
    : (optionalSize(where, config, "pad_token_id") ?? 1) + 1;
  refuseUnless(
    where,
    "max_position_embeddings",
    positions > firstPosition,
    `more than ${firstPosition}`,
    String(positions),
  );
  const layer = { heads, headDim: hidden / heads, size: positive(where, config, "intermediate_size") };
  return {
    kind: "encoder",
    architecture,
    hidden,
    vocabulary: positive(where, config, "vocab_size"),
    context: positions - firstPosition,
    firstPosition,
    positions,
    epsilon: optionalNumber(where, config, "layer_norm_eps") ?? 1e-12,
    layers: Array.from({ length: layerCount(where, config) }, () => layer),
    activation: activationOf(where, config),
    endTokens: endTokensOf(config),
  };
}
