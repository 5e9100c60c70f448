// The roofs of a roofline: the most multiply-adds and reads that this processor and engine do in a second.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

const root = new URL("../", import.meta.url);

export const PEAK_TURNS = 20_000;
export const PEAK_OPERATIONS = 14 * 8;

/** Weights that take turns until they are in no cache when their turn comes. */
export const COLD_BYTES = 192 * 2 ** 20;

/** bench/assembly/roofs.ts in builds of these names, on one memory. */
export function roofsOf(variants) {
  const memory = new WebAssembly.Memory({ initial: 4096, maximum: 65536 });
  // Pages that nobody has written are all the same one, and in a cache.
  new Uint8Array(memory.buffer).fill(1);
  return Object.fromEntries(variants.map((variant) => [variant, instantiate(variant, memory)]));
}

/** Reads so many bytes, and nothing else. */
export function read(roofs, bytes) {
  return Object.values(roofs)[0].read(65536, bytes);
}

function instantiate(variant, memory) {
  const asc = new URL("node_modules/assemblyscript/bin/asc.js", root).pathname;
  const file = `build/roofs-${variant}.wasm`;
  const enable = variant === "relaxed" ? ["--enable", "relaxed-simd"] : [];
  execFileSync(
    process.execPath,
    // biome-ignore format: a command line
    [asc, "bench/assembly/roofs.ts", "-o", file, "-O3", "--noAssert", "--runtime", "stub", "--importMemory", "--enable", "simd", ...enable, "--use", "abort="],
    { cwd: root, stdio: "inherit" },
  );
  const module = new WebAssembly.Module(readFileSync(new URL(file, root)));
  return new WebAssembly.Instance(module, { env: { memory } }).exports;
}
