import { Engine } from "./engine/engine.ts";
import { BlockscaleError } from "./tensor/errors.ts";
import { checkKnown, checkRequires, checkThreads } from "./tensor/options.ts";
import type { ThreadedEngine } from "./threads/engine.ts";
import type { LentWorkers } from "./threads/lend.ts";
import { compile, type Variant } from "./wasm/builds.ts";
import { instantiate } from "./wasm/instantiate.ts";
import { fetchModule, type WasmSource } from "./wasm/module.ts";

export interface LoadOptions {
  /** Which build to run; left out, the best one that this host accepts. */
  readonly variant?: Variant;
  /**
   * A build that you host yourself, instead of the one inside: its
   * bytes, a compiled module, or a fetch of it.
   */
  readonly wasm?: WasmSource;
  /**
   * How many threads share each product: the engine is then a {@link ThreadedEngine}, whose `gemm`
   * and `pack` are asynchronous. The calling thread is one of them, but not on a page: there it
   * stays free, and as many workers do the work.
   */
  readonly threads?: number;
  /**
   * In a worker: the port of `lendEngineWorkers` of its page, which then makes the threads in place of the
   * worker.
   */
  readonly workers?: MessagePort;
}

/**
 * Compiles and instantiates the kernels, in about two milliseconds. Each engine has its own memory: that of
 * the call under way, from a few hundred kilobytes to 20 MiB, and what is packed.
 * @throws BlockscaleError `wasm`: WebAssembly is refused here, or `options.wasm` is not a blockscale build;
 * `option`: there are no workers for `options.threads`, or the page's Content-Security-Policy blocks them
 */
export function load(options: LoadOptions & { readonly threads: number }): Promise<ThreadedEngine>;
export function load(options?: LoadOptions & { readonly threads?: undefined }): Promise<Engine>;
export async function load(options: LoadOptions = {}): Promise<Engine | ThreadedEngine> {
  checkKnown("load", options, ["variant", "wasm", "threads", "workers"]);
  checkRequires("load", options, "workers", "threads");
  const { module, variant } = await buildOf(options);
  if (options.threads === undefined) return new Engine(instantiate(module), variant);
  checkThreads("load", options.threads);
  // Workers and their entry point are fetched by those who ask for them.
  const { ThreadedEngine } = await import("./threads/engine.ts");
  return ThreadedEngine.open(options.threads, { module, variant }, options.workers);
}

/**
 * On a page: makes the threads of engines that another worker loads. That worker gets `port` by
 * `postMessage(..., [port])`, and passes it to `load` as `workers`. In Firefox, a
 * thread that is made by a worker sometimes never starts.
 */
export async function lendEngineWorkers(): Promise<LentWorkers> {
  const [{ lendWorkers }, { SCRIPT }] = await Promise.all([
    import("./threads/lend.ts"),
    import("./threads/script.ts"),
  ]);
  return lendWorkers(SCRIPT);
}

async function buildOf({
  wasm,
  variant,
}: LoadOptions): Promise<{ module: WebAssembly.Module; variant: Engine["variant"] }> {
  if (wasm !== undefined && variant !== undefined) {
    throw new BlockscaleError("option", {
      where: "load: variant",
      expected: "either wasm or variant",
      got: "both",
      fix: "Leave `variant` out: the file that you host decides it.",
    });
  }
  return wasm === undefined ? compile(variant) : { module: await fetchModule(wasm), variant: "custom" };
}
