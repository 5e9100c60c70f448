/**
 * `blockscale/js`: the same engine without WebAssembly, for hosts that refuse it (a Content-Security-Policy without
 * 'wasm-unsafe-eval', for one). Same results, bit for bit, at about a tenth of the speed.
 * @module
 */
import { Engine } from "../engine.ts";
import { instantiate } from "./kernels.ts";

export type { QuantizeOut } from "../engine.ts";
export type { ErrorCode, Fault } from "../errors.ts";
export { BlockscaleError } from "../errors.ts";
export type { Rounding, Scheme, SchemeName } from "../scheme.ts";
export { schemes } from "../scheme.ts";
export type { BlockScaled, Float16Values, Format, HalfValues, Values, ValueType } from "../tensor.ts";
export { bf16, f16 } from "../tensor.ts";
export type { Engine };

/** An engine of plain JavaScript; asynchronous only to be called like that of `blockscale`. */
export async function load(): Promise<Engine> {
  return new Engine(instantiate(), "js");
}
