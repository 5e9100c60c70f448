import type { DecoderConfig } from "../model/config.ts";
import type { Program } from "../model/program.ts";
import { sizesOf } from "./linears.ts";
import type { Parameters } from "./parameters.ts";
import type { Rooms } from "./rooms.ts";

/** A tensor that a forward pass has made, of so many columns for each token. */
interface Made {
  readonly what: string;
  readonly place: number;
  readonly cols: number;
}

/**
 * The tensors that a pass has left, in the order in which it made them. Of layers that share rooms, only the
 * results are left.
 */
function madeBy(config: DecoderConfig, rooms: Rooms): Made[] {
  const { saved, isShared, last, lastNormed } = rooms;
  const { hidden, inner, queries, keys } = sizesOf(config);
  const layers = saved.flatMap((one, i): Made[] => {
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
 * The first tensor of a pass that holds NaN or Inf: a weight, or else a tensor made from weights.
 * @returns `undefined` where there is none: then only the logits have grown too large
 */
export function firstNonFinite(
  program: Program,
  config: DecoderConfig,
  parameters: Parameters,
  rooms: Rooms,
): string | undefined {
  const isBad = (place: number, count: number) =>
    program.view(place, count).some((value) => !Number.isFinite(value));
  const weight = parameters.all.find(({ value, count }) => isBad(value, count));
  if (weight !== undefined) return weight.name;
  return madeBy(config, rooms).find(({ place, cols }) => isBad(place, rooms.tokens * cols))?.what;
}
