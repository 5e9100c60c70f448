/**
 * `blockscale/external`: the same package without the WebAssembly inside, for those who host
 * `blockscale/baseline.wasm` or `blockscale/relaxed.wasm` themselves: less than half of the script, and no
 * configuration or bundler needed to import it.
 * @module
 */
import { Engine } from "./engine/engine.ts";
import { checkKnown } from "./tensor/options.ts";
import { instantiate } from "./wasm/instantiate.ts";
import { fetchModule, type WasmSource } from "./wasm/module.ts";

export * from "./public.ts";
export type { WasmSource };

/**
 * Instantiates the build that `wasm` holds: its bytes, a compiled module, or a fetch of it.
 * @example const fp8 = await load({ wasm: fetch("/assets/baseline.wasm") });
 * @throws BlockscaleError `wasm`: WebAssembly is refused here, or `wasm` is not a blockscale build; `option`
 */
export async function load(options: { readonly wasm: WasmSource }): Promise<Engine> {
  checkKnown("load", options ?? {}, ["wasm"]);
  return new Engine(instantiate(await fetchModule(options?.wasm)), "custom");
}
