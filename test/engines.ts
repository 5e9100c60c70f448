import type { Engine } from "../src/engine.ts";

/** Every build of the engine, by name. The whole suite runs on each of them. */
export const ENGINES: readonly (readonly [name: string, make: () => Promise<Engine>])[] = [];
