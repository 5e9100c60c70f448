import { type Json, sizeOf, wrongField } from "./json.ts";
import type { ActivationName } from "./kernels.ts";

/**
 * Most layers of a model: far above any, and few enough that a record of a hostile config.json takes neither
 * memory nor time: records are made before the tensors' shapes are compared with them.
 */
const MOST_LAYERS = 10_000;

const ACTIVATIONS: { readonly [name: string]: ActivationName } = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_new: "geluTanh",
  gelu_pytorch_tanh: "geluTanh",
};

/** The activation function of an MLP. */
export function activationOf(where: string, config: Json): ActivationName {
  const name = String(config.hidden_act ?? config.hidden_activation ?? "silu");
  if (Object.hasOwn(ACTIVATIONS, name)) return ACTIVATIONS[name]!;
  throw wrongField(where, "hidden_act", `one of ${Object.keys(ACTIVATIONS).join(", ")}`, name);
}

/** Tokens that end an answer. */
export function endTokensOf({ eos_token_id: ids }: Json): number[] {
  return (Array.isArray(ids) ? ids : [ids]).filter((id): id is number => Number.isSafeInteger(id));
}

/**
 * A size that is not 0.
 * @throws BlockscaleError `dialect`
 */
export function positive(where: string, config: Json, key: string): number {
  const value = sizeOf(where, config, key);
  refuseUnless(where, key, value > 0, "more than 0", "0");
  return value;
}

export function layerCount(where: string, config: Json): number {
  const count = positive(where, config, "num_hidden_layers");
  refuseUnless(where, "num_hidden_layers", count <= MOST_LAYERS, `at most ${MOST_LAYERS}`, String(count));
  return count;
}

export function refuseUnless(
  where: string,
  key: string,
  holds: boolean,
  expected: string,
  got: string,
): void {
  if (!holds) throw wrongField(where, key, expected, got);
}
