import { setImmediate } from "node:timers/promises";
import { BlockscaleError } from "../tensor/errors.ts";

/** Exit status of a process that a signal ended, as shells give it. */
export const INTERRUPTED: Readonly<Record<string, number>> = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 };

/** A signal that Ctrl-C or SIGTERM aborts, so that nothing half-written stays behind. */
export function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(name, () =>
      controller.abort(
        new BlockscaleError("io", {
          where: "blockscale",
          expected: "to run until the work is done",
          got: name,
          fix: "No half-written file is left. Run the same command again to continue.",
        }),
      ),
    );
  }
  return controller.signal;
}

/**
 * Throws if the run was interrupted. Waits for two turns of the event loop first, since signals arrive
 * between turns.
 * @throws what the signal was aborted with
 */
export async function throwIfInterrupted(signal: AbortSignal): Promise<void> {
  // The first one comes before the system is asked again, the second one after.
  await setImmediate();
  await setImmediate();
  signal.throwIfAborted();
}
