/**
 * `blockscale/js`: the same engine without WebAssembly, for hosts that refuse it (a Content-Security-Policy
 * without 'wasm-unsafe-eval', for one). Same results, bit for bit, at about a tenth of the speed; products
 * are summed in float64 here, so they may be nearer to the exact ones.
 * @module
 */
import { Engine } from "./engine/engine.ts";
import { instantiate } from "./js/kernels.ts";

export * from "./public.ts";

/** An engine of plain JavaScript; asynchronous only to be called like that of `blockscale`. */
export async function load(): Promise<Engine> {
  return new Engine(instantiate(), "js");
}
