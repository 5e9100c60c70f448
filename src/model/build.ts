import { baseline, relaxed } from "#model-kernels";
import { type Binary, compile, type Variant } from "../wasm/builds.ts";
import { withSharedMemory } from "../wasm/import-shared-memory.ts";
import { instantiate } from "../wasm/instantiate.ts";
import type { AskedPrecisions } from "./precisions.ts";

/**
 * Compiles the kernels of models: a build of its own, with all that the usual one holds. For products of
 * integers the JavaScript engine is tested first: V8 11 has relaxed SIMD behind a flag, and gets its integer
 * products wrong; it gets the baseline build.
 * @throws BlockscaleError `wasm`
 */
export function compileForModels(variant?: Variant, precisions: AskedPrecisions = {}): Binary {
  const binary = compile(variant, { baseline, relaxed });
  const isOfIntegers = precisions.weights === "int7" || precisions.activations === "int8";
  if (!isOfIntegers || binary.variant === "baseline" || hasTrueDots(binary.module)) return binary;
  return compile("baseline", { baseline, relaxed });
}

function hasTrueDots(module: WebAssembly.Module): boolean {
  return instantiate(module).kernels.hasTrueDots() === 1;
}

/**
 * As {@link compile}, a build for instances that share a memory; undefined where the host compiles no bytes.
 * @throws BlockscaleError `wasm`
 */
export function compileForSharing(variant?: Variant): Binary | undefined {
  const [baselineBytes, relaxedBytes] = [baseline(), relaxed()];
  if (!(baselineBytes instanceof Uint8Array && relaxedBytes instanceof Uint8Array)) return undefined;
  return compile(variant, {
    baseline: () => withSharedMemory(baselineBytes),
    relaxed: () => withSharedMemory(relaxedBytes),
  });
}
