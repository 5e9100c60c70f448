import { Engine } from "./engine.ts";
import { compile, toModule, type Variant } from "./wasm/binary.ts";
import { instantiate } from "./wasm/instantiate.ts";

export interface LoadOptions {
  /** Which build to run; left out, the best one that this host accepts. */
  readonly variant?: Variant;
  /** A build that you host yourself, instead of the inlined one: its bytes, a compiled module, or a fetch of it. */
  readonly wasm?: WebAssembly.Module | BufferSource | Response | PromiseLike<Response>;
}

/**
 * Compiles and instantiates the kernels, in about two milliseconds. Each engine has its own memory, of about a megabyte.
 * @throws BlockscaleError `wasm`: WebAssembly is refused here, or `options.wasm` is not a blockscale build; `option`
 */
export async function load(options: LoadOptions = {}): Promise<Engine> {
  if (options.wasm === undefined) {
    const { module, variant } = compile(options.variant);
    return new Engine(instantiate(module), variant);
  }
  const source = await options.wasm;
  const bytes =
    typeof Response === "function" && source instanceof Response ? await source.arrayBuffer() : source;
  return new Engine(instantiate(toModule(bytes as WebAssembly.Module | BufferSource)), "custom");
}
