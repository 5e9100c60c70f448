import { Engine } from "../../engine/engine.ts";
import { compile } from "../../wasm/builds.ts";
import { instantiate } from "../../wasm/instantiate.ts";

/**
 * An engine of the best build that runs here. `load` would also download the code of threads.
 * @throws BlockscaleError `wasm`
 */
export function openEngine(): Engine {
  const { module, variant } = compile();
  return new Engine(instantiate(module), variant);
}
