import { baseline, relaxed } from "#model-kernels";
import { type Binary, compile, type Variant } from "../wasm/builds.ts";

/**
 * Compiles the kernels of models: a build of its own, with all that the usual one holds.
 * @throws BlockscaleError `wasm`
 */
export function compileForModels(variant?: Variant): Binary {
  return compile(variant, { baseline, relaxed });
}
