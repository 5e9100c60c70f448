import { source } from "#worker";
import type { Script } from "./start.ts";

/** What the workers of an engine run. */
export const SCRIPT: Script = {
  source,
  open: () => new Worker(new URL("./worker.js", import.meta.url), { type: "module" }),
};
