import type { DenseMlp, ExpertsMlp, Layer } from "./config.ts";
import { positive, refuseUnless } from "./config-fields.ts";
import { type Json, optionalNumber, optionalSize } from "./json.ts";

/** Fields of {@link ExpertsMlp} that are not given are those of a plain softmax router. */
export function expertsOf(
  where: string,
  config: Json,
  key: string,
  fields: Pick<ExpertsMlp, "size" | "routing" | "isNormalized" | "names"> & Partial<ExpertsMlp>,
): ExpertsMlp {
  const count = positive(where, config, key);
  const chosen = positive(where, config, "num_experts_per_tok");
  refuseUnless(where, "num_experts_per_tok", chosen <= count, `at most ${key}, ${count}`, String(chosen));
  return { kind: "experts", count, chosen, factor: 1, groups: 1, chosenGroups: 1, sharedSize: 0, ...fields };
}

/** Softmax routing; some layers may be dense: Qwen3-MoE. */
export function qwen3Experts(where: string, config: Json): (layer: number) => Layer["mlp"] {
  const step = optionalSize(where, config, "decoder_sparse_step") ?? 1;
  const denseLayers = (config.mlp_only_layers ?? []) as unknown[];
  const key = config.num_experts === undefined ? "num_local_experts" : "num_experts";
  const experts = expertsOf(where, config, key, {
    size: positive(where, config, "moe_intermediate_size"),
    routing: "softmax",
    isNormalized: config.norm_topk_prob === true,
    names: { router: "gate", correction: null, shared: null, layout: "each" },
  });
  const dense: DenseMlp = { kind: "dense", size: positive(where, config, "intermediate_size") };
  return (layer) => (!denseLayers.includes(layer) && step > 0 && (layer + 1) % step === 0 ? experts : dense);
}

/**
 * Grouped sigmoid routing with shared experts, behind some layers that are dense:
 * DeepSeek-V3, Kimi-K2, GLM-4.5 and later.
 */
export function deepseekExperts(where: string, config: Json): (layer: number) => Layer["mlp"] {
  const size = positive(where, config, "moe_intermediate_size");
  const shared = optionalSize(where, config, "n_shared_experts") ?? 0;
  const groups = optionalSize(where, config, "n_group") || 1;
  const experts = expertsOf(where, config, "n_routed_experts", {
    size,
    routing: "sigmoid",
    isNormalized: config.norm_topk_prob !== false,
    factor: optionalNumber(where, config, "routed_scaling_factor") ?? 1,
    groups,
    chosenGroups: optionalSize(where, config, "topk_group") || 1,
    sharedSize: shared * size,
    names: {
      router: "gate",
      correction: "gate.e_score_correction_bias",
      shared: shared > 0 ? "shared_experts" : null,
      layout: "each",
    },
  });
  refuseUnless(
    where,
    "n_group",
    experts.count % groups === 0,
    "a divisor of n_routed_experts",
    String(groups),
  );
  refuseUnless(
    where,
    "topk_group",
    experts.chosenGroups <= groups && experts.chosenGroups * (experts.count / groups) >= experts.chosen,
    "groups with enough experts for num_experts_per_tok",
    String(experts.chosenGroups),
  );
  const dense: DenseMlp = { kind: "dense", size: positive(where, config, "intermediate_size") };
  const first = optionalSize(where, config, "first_k_dense_replace") ?? 0;
  return (layer) => (layer < first ? dense : experts);
}
