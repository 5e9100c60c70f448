import { source } from "#train-worker";
import { type LentWorkers, lendWorkers } from "../threads/lend.ts";
import type { Script } from "../threads/start.ts";

/** What the workers of a trainer run. */
export const SCRIPT: Script = {
  source,
  open: () => new Worker(new URL("./worker.js", import.meta.url), { type: "module" }),
};

/**
 * On a page: makes the workers of trainers that another worker creates. That worker gets `port` by
 * `postMessage(..., [port])`, and passes it to `createTrainer` as `workers`.
 */
export function lendTrainerWorkers(): LentWorkers {
  return lendWorkers(SCRIPT);
}
