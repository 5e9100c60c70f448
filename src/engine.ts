import type { Scheme } from "./scheme.ts";
import type { BlockScaled, Format, Values, ValueType } from "./tensor.ts";

/** What {@link Engine.quantize} can write into, instead of allocating. */
export interface QuantizeOut {
  readonly codes: Uint8Array;
  readonly scales: Uint8Array | Float32Array;
}

/** Block-scaled FP8 operations on one WebAssembly instance. */
export interface Engine {
  /** Which build runs: `relaxed` fuses multiply-adds, `baseline` runs everywhere. */
  readonly variant: "relaxed" | "baseline" | "debug";
  encode(values: Float32Array, format: Format, options?: { out?: Uint8Array }): Uint8Array;
  decode(codes: Uint8Array, format: Format, options?: { out?: Float32Array }): Float32Array;
  quantize(
    values: Values,
    shape: readonly number[],
    scheme: Scheme,
    options?: { out?: QuantizeOut },
  ): BlockScaled;
  dequantize(tensor: BlockScaled, type?: "f32", options?: { out?: Float32Array }): Float32Array;
  dequantize(tensor: BlockScaled, type: "bf16" | "f16", options?: { out?: Uint16Array }): Uint16Array;
  dequantize(
    tensor: BlockScaled,
    type: ValueType,
    options?: { out?: Float32Array | Uint16Array },
  ): Float32Array | Uint16Array;
}

export interface LoadOptions {
  readonly variant?: "relaxed" | "baseline";
}

export function load(_options?: LoadOptions): Promise<Engine> {
  return Promise.reject(new Error("not built yet"));
}
