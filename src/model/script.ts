import { source } from "#model-worker";
import { type LentWorkers, lendWorkers } from "../threads/lend.ts";
import type { Script } from "../threads/start.ts";

/** What the workers of a model run. */
export const SCRIPT: Script = {
  source,
  open: () => new Worker(new URL("./worker.js", import.meta.url), { type: "module" }),
};

/**
 * On a page: makes the workers of models that another worker opens. That worker gets `port` by
 * `postMessage(..., [port])`, and passes it to `openModel` as `workers`.
 */
export function lendModelWorkers(): LentWorkers {
  return lendWorkers(SCRIPT);
}
