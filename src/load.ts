import { Engine } from "./engine.ts";
import { BlockscaleError } from "./errors.ts";
import { compile, type Variant } from "./wasm/binary.ts";
import { instantiate } from "./wasm/instantiate.ts";
import { moduleOf, type WasmSource } from "./wasm/module.ts";

export interface LoadOptions {
  /** Which build to run; left out, the best one that this host accepts. */
  readonly variant?: Variant;
  /** A build that you host yourself, instead of the one inside: its bytes, a compiled module, or a fetch of it. */
  readonly wasm?: WasmSource;
}

/**
 * Compiles and instantiates the kernels, in about two milliseconds. Each engine has its own memory, of about a megabyte.
 * @throws BlockscaleError `wasm`: WebAssembly is refused here, or `options.wasm` is not a blockscale build; `option`
 */
export async function load(options: LoadOptions = {}): Promise<Engine> {
  if (typeof options !== "object" || options === null) {
    throw new BlockscaleError("option", {
      where: "load: options",
      expected: "{ variant } or { wasm }",
      got: String(options),
      fix: "Leave it out to get the best build that runs here.",
    });
  }
  if (options.wasm !== undefined) return new Engine(instantiate(await moduleOf(options.wasm)), "custom");
  const { module, variant } = compile(options.variant);
  return new Engine(instantiate(module), variant);
}
