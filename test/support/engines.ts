import { readFile } from "node:fs/promises";
import type { Engine } from "../../src/engine/engine.ts";
import { instantiate as instantiateJs } from "../../src/js/kernels.ts";
import { load } from "../../src/load.ts";
import { load as loadJs } from "../../src/plain-js.ts";
import { compile } from "../../src/wasm/builds.ts";
import { type Instance, instantiate } from "../../src/wasm/instantiate.ts";
import { compileModule } from "../../src/wasm/module.ts";

function debugBuild(): Promise<Buffer<ArrayBuffer>> {
  return readFile(new URL("../../build/debug.wasm", import.meta.url)) as Promise<Buffer<ArrayBuffer>>;
}

/** Every set of kernels, by name: the suite runs on each of them, on the same inputs. */
export const ENGINES: readonly (readonly [name: string, make: () => Promise<Engine>])[] = [
  ["debug", async () => load({ wasm: await debugBuild() })],
  ["baseline", () => load({ variant: "baseline" })],
  ["relaxed", () => load({ variant: "relaxed" })],
  ["js", () => loadJs()],
];

/** Engines whose dots of integers are right: those of V8 11 are not with relaxed SIMD, and say so. */
export async function enginesWithTrueDots(): Promise<[name: string, engine: Engine][]> {
  const made: [string, Engine][] = [];
  for (const [name, make] of ENGINES) {
    const engine = await make();
    try {
      engine.activations({ values: new Float32Array(1), shape: [1, 1] }).free();
      made.push([name, engine]);
    } catch (error) {
      if (!/dots/.test(String(error))) throw error;
    }
  }
  return made;
}

/** The same kernels without the engine, for tests that look into the memory. */
export const INSTANCES: readonly (readonly [name: string, make: () => Promise<Instance>])[] = [
  ["debug", async () => instantiate(compileModule(await debugBuild()))],
  ["baseline", async () => instantiate(compile("baseline").module)],
  ["relaxed", async () => instantiate(compile("relaxed").module)],
  ["js", async () => instantiateJs()],
];
