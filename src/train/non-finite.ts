import type { DecoderConfig } from "../model/config.ts";
import type { Program } from "../model/program.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { Buffers } from "./buffers.ts";
import { sizesOf } from "./linears.ts";
import type { Parameters } from "./parameters.ts";

/** A tensor [tokens, cols] that a forward pass has written. */
interface Activation {
  readonly name: string;
  /** Its address. */
  readonly address: number;
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
    const result = { name: `${path}.mlp.down_proj`, address: saved[i + 1]?.x ?? last, cols: hidden };
    if (isShared) return [{ ...result, name: path }];
    return [
      { name: `${path}.input_layernorm`, address: one.normedX, cols: hidden },
      { name: `${path}.self_attn.q_proj`, address: one.rawQ, cols: queries },
      { name: `${path}.self_attn.k_proj`, address: one.rawK, cols: keys },
      { name: `${path}.self_attn.v_proj`, address: one.v, cols: keys },
      { name: `${path}.self_attn.q_norm`, address: one.q, cols: queries },
      { name: `${path}.self_attn.k_norm`, address: one.k, cols: keys },
      { name: `${path}.self_attn's heads`, address: one.heads, cols: queries },
      { name: `${path}.self_attn.o_proj`, address: one.middle, cols: hidden },
      { name: `${path}.post_attention_layernorm`, address: one.normedMiddle, cols: hidden },
      { name: `${path}.mlp.gate_proj`, address: one.gate, cols: inner },
      { name: `${path}.mlp.up_proj`, address: one.up, cols: inner },
      { name: `${path}.mlp's activation`, address: one.act, cols: inner },
      result,
    ];
  });
  return [...layers, { name: "the output of model.norm", address: lastNormed, cols: hidden }];
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
  const isNonFinite = (address: number, count: number) =>
    program.view(address, count).some((value) => !Number.isFinite(value));
  const weight = parameters.all.find(({ value, count }) => isNonFinite(value, count));
  if (weight !== undefined) return weight.name;
  return activationsOf(config, buffers).find(({ address, cols }) =>
    isNonFinite(address, buffers.tokens * cols),
  )?.name;
}

/**
 * The error of a training step whose loss or gradients are not finite.
 * @param step its number, from 1 on
 * @param first the first tensor with NaN or Inf, or where that is
 */
export function nonFiniteStep(step: number, loss: number, first: string): BlockscaleError {
  return new BlockscaleError("dialect", {
    where: `trainer: step ${step}`,
    expected: "a loss and gradients that are numbers",
    got: `a loss of ${loss}; the first tensor that holds NaN or Inf is ${first}`,
    fix: "Take a lower learning rate, a longer warm-up, or a recipe of higher precision.",
  });
}
