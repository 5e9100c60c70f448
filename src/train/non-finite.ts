import type { DecoderConfig } from "../model/config.ts";
import type { Program } from "../model/program.ts";
import type { Buffers } from "./buffers.ts";
import { sizesOf } from "./linears.ts";
import type { Parameters } from "./parameters.ts";

/** A tensor [tokens, cols] that a forward pass has written. */
interface Activation {
  readonly what: string;
  /** Its address. */
  readonly place: number;
  readonly cols: number;
}

/**
 * The tensors that are left of a forward pass, in the order in which it wrote them. Of layers that share
 * buffers (`recompute`), only the outputs are left.
 */
function activationsOf(config: DecoderConfig, buffers: Buffers): Activation[] {
  const { saved, isShared, last, lastNormed } = buffers;
  const { hidden, inner, queries, keys } = sizesOf(config);
  const layers = saved.flatMap((one, i): Activation[] => {
    const path = `the output of model.layers.${i}`;
    const result = { what: `${path}.mlp.down_proj`, place: saved[i + 1]?.x ?? last, cols: hidden };
    if (isShared) return [{ ...result, what: path }];
    return [
      { what: `${path}.input_layernorm`, place: one.normedX, cols: hidden },
      { what: `${path}.self_attn.q_proj`, place: one.rawQ, cols: queries },
      { what: `${path}.self_attn.k_proj`, place: one.rawK, cols: keys },
      { what: `${path}.self_attn.v_proj`, place: one.v, cols: keys },
      { what: `${path}.self_attn.q_norm`, place: one.q, cols: queries },
      { what: `${path}.self_attn.k_norm`, place: one.k, cols: keys },
      { what: `${path}.self_attn's heads`, place: one.heads, cols: queries },
      { what: `${path}.self_attn.o_proj`, place: one.middle, cols: hidden },
      { what: `${path}.post_attention_layernorm`, place: one.normedMiddle, cols: hidden },
      { what: `${path}.mlp.gate_proj`, place: one.gate, cols: inner },
      { what: `${path}.mlp.up_proj`, place: one.up, cols: inner },
      { what: `${path}.mlp's activation`, place: one.act, cols: inner },
      result,
    ];
  });
  return [...layers, { what: "the output of model.norm", place: lastNormed, cols: hidden }];
}

/**
 * The name of the first tensor of a forward pass that holds NaN or Inf: a weight, or else an activation.
 * @returns `undefined` if there is none: then it is the logits, which the loss has overwritten
 */
export function firstNonFinite(
  program: Program,
  config: DecoderConfig,
  parameters: Parameters,
  buffers: Buffers,
): string | undefined {
  const isBad = (place: number, count: number) =>
    program.view(place, count).some((value) => !Number.isFinite(value));
  const weight = parameters.all.find(({ value, count }) => isBad(value, count));
  if (weight !== undefined) return weight.name;
  return activationsOf(config, buffers).find(({ place, cols }) => isBad(place, buffers.tokens * cols))?.what;
}
