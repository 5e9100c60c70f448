import type { Engine } from "../../src/engine/engine.ts";
import type { Scheme } from "../../src/tensor/schemes.ts";
import type { BlockScaled, Format, Values, ValueType } from "../../src/tensor/tensor.ts";
import * as block from "./block.ts";
import { decodeCode, encodeAll, narrow, widen } from "./cast.ts";

/** What an engine computes, whoever computes it. */
export type Verbs = Pick<Engine, "encode" | "decode" | "quantize" | "dequantize">;

function asFloat32(values: Values): Float32Array {
  if (values instanceof Float32Array) return values;
  if ("type" in values) return widen(values.type, values.bits);
  return Float32Array.from(values as ArrayLike<number>);
}

/** The definitions behind the engine's verbs. `out` is not looked at. */
export const reference: Verbs = {
  encode: (values: Float32Array, format: Format) =>
    encodeAll(format, new Uint32Array(values.buffer, values.byteOffset, values.length)),
  decode: (codes: Uint8Array, format: Format) => Float32Array.from(codes, (code) => decodeCode(format, code)),
  quantize: (values: Values, shape: readonly number[], scheme: Scheme) =>
    block.quantize(asFloat32(values), shape, scheme),
  dequantize: ((tensor: BlockScaled, type: ValueType = "f32") =>
    narrow(type, block.dequantize(tensor))) as Verbs["dequantize"],
};
