import { readFile } from "node:fs/promises";
import type { Engine } from "../src/engine.ts";
import { load } from "../src/load.ts";

/** Every build of the kernels, by name: the suite runs on each of them, on the same inputs. */
export const ENGINES: readonly (readonly [name: string, make: () => Promise<Engine>])[] = [
  ["debug", async () => load({ wasm: await readFile(new URL("../build/debug.wasm", import.meta.url)) })],
  ["baseline", () => load({ variant: "baseline" })],
  ["relaxed", () => load({ variant: "relaxed" })],
];
