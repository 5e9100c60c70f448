/**
 * `blockscale/js`: the same engine without WebAssembly, for hosts that refuse it (a Content-Security-Policy
 * without 'wasm-unsafe-eval', for one). Same results, bit for bit, at about a tenth of the speed; products
 * are summed in float64 here, so they may be nearer to the exact ones.
 * @module
 */
import { Engine } from "./engine/engine.ts";
import { instantiate } from "./js/kernels.ts";
import { checkKnown } from "./tensor/options.ts";

export * from "./public.ts";

/**
 * An engine of plain JavaScript. It is asynchronous only to be called like `load` of `blockscale`, and has no
 * options: there are no builds to choose from.
 * @throws BlockscaleError `option`: an option, such as `variant` or `threads`
 */
export async function load(options: Readonly<Record<string, never>> = {}): Promise<Engine> {
  checkKnown("load", options, []);
  return new Engine(instantiate(), "js");
}
