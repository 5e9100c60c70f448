/**
 * `blockscale/external`: the same package without the WebAssembly inside, for those who host `blockscale/baseline.wasm`
 * or `blockscale/relaxed.wasm` themselves: a fifth of the script, and no configuration or bundler needed to import it.
 * @module
 */
import { Engine } from "./engine.ts";
import { instantiate } from "./wasm/instantiate.ts";
import { moduleOf, type WasmSource } from "./wasm/module.ts";

export type { QuantizeOut } from "./engine.ts";
export type { ErrorCode, Fault } from "./errors.ts";
export { BlockscaleError } from "./errors.ts";
export type { Rounding, Scheme, SchemeName } from "./scheme.ts";
export { schemes } from "./scheme.ts";
export type { BlockScaled, Float16Values, Format, HalfValues, Values, ValueType } from "./tensor.ts";
export { bf16, f16 } from "./tensor.ts";
export type { Engine, WasmSource };

/**
 * Instantiates the build that `wasm` holds: its bytes, a compiled module, or a fetch of it.
 * @example const fp8 = await load({ wasm: fetch("/assets/baseline.wasm") });
 * @throws BlockscaleError `wasm`: WebAssembly is refused here, or `wasm` is not a blockscale build
 */
export async function load({ wasm }: { readonly wasm: WasmSource }): Promise<Engine> {
  return new Engine(instantiate(await moduleOf(wasm)), "custom");
}
