import { baseline, relaxed } from "#model-kernels";
import { type Binary, compile, type Variant } from "../wasm/builds.ts";
import { instantiate } from "../wasm/instantiate.ts";
import type { ModelKernels } from "./kernels.ts";
import type { WeightForm } from "./store.ts";

/**
 * Compiles the kernels of models: a build of its own, with all that the usual one holds. For weights that are integers an engine is tried first: V8 11
 * has relaxed SIMD behind a flag, and gets its integer products wrong; it gets the baseline build.
 * @throws BlockscaleError `wasm`
 */
export function compileForModels(variant?: Variant, weights: WeightForm = "codes"): Binary {
  const binary = compile(variant, { baseline, relaxed });
  if (weights === "codes" || binary.variant === "baseline" || hasTrueDots(binary.module)) return binary;
  return compile("baseline", { baseline, relaxed });
}

function hasTrueDots(module: WebAssembly.Module): boolean {
  return (instantiate(module).kernels as ModelKernels).hasTrueDots() === 1;
}
