import { instantiateSync } from "@assemblyscript/loader";
import { BlockscaleError } from "../tensor/errors.ts";
import type { Kernels } from "./kernels.ts";
import { refused } from "./module.ts";

/** Running kernels and the memory they work on, which the host owns. */
export interface Instance {
  readonly kernels: Kernels;
  readonly memory: LinearMemory;
}

/** The part of WebAssembly.Memory that the engine needs. */
export interface LinearMemory {
  readonly buffer: ArrayBuffer;
  /**
   * Adds pages of 64 KiB, zeroed; the old buffer must not be used any more. Returns the old number of pages.
   */
  grow(pages: number): number;
}

/** Pages a build asks for at start; asconfig.json has the same number. */
const INITIAL_PAGES = 2;

/**
 * Memory that instances in several threads can work on, for a build with shared memory.
 * @throws RangeError: the host has not that much memory
 */
export function sharedMemory(): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum: 65536, shared: true });
}

/** Memory of its own for an instance, or for several of one module, one after another. */
export function ownMemory(): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum: 65536 });
}

/**
 * Instantiates a build. The AssemblyScript loader supplies `env.abort`, which turns a failed assertion of the
 * debug build into message, file and line; the release builds import nothing but the memory.
 * @param memory default: one of its own
 * @throws BlockscaleError `wasm`: the module is not one of ours, or WebAssembly is refused here.
 */
export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory = ownMemory()): Instance {
  try {
    // A Module of another realm (Next's edge runtime) fails the loader's instanceof test.
    const instance =
      module instanceof WebAssembly.Module
        ? instantiateSync(module, { env: { memory } }).instance
        : new WebAssembly.Instance(module, { env: { memory } });
    const kernels = instance.exports as unknown as Kernels;
    if (typeof kernels.heapBase !== "function") throw new Error("no export heapBase");
    return { kernels, memory: memory as unknown as LinearMemory };
  } catch (error) {
    // WebKit applies a Content-Security-Policy here, with the error of a compiler, and lets any module
    // compile.
    if (error instanceof WebAssembly.CompileError) throw refused(error.message, error);
    throw new BlockscaleError(
      "wasm",
      {
        where: "load",
        expected: "a WebAssembly build of this version of blockscale",
        got: error instanceof Error ? error.message : String(error),
        fix: "Pass the .wasm file that ships with the package.",
      },
      { cause: error },
    );
  }
}
