import type { Engine } from "../engine/engine.ts";
import { giveBack, type Source } from "../io/source.ts";
import { bytesOf, type Located, memoryOf } from "./locate.ts";
import { partsOf } from "./parts.ts";
import type { WeightForm } from "./store.ts";
import type { DeclaredRows, RowsToFill } from "./stored.ts";

/** A member that stores its share of the weights. */
export interface WeightReceiver {
  /** Makes room for about so many bytes of tensors, before any of them is declared. */
  expect(bytes: number): void | Promise<void>;
  declare(declared: DeclaredRows): void | Promise<void>;
  fill(filling: RowsToFill): void | Promise<void>;
  seal(key: string): void | Promise<void>;
}

export interface LoadProgress {
  /** Bytes of weights that are in memory, of all there are. */
  readonly done: number;
  readonly total: number;
}

/** Reads under way at a time. */
const AHEAD = 4;

type Job = () => Promise<void>;

/**
 * Reads the weights and sends each member its share, a few megabytes at a time.
 * @param engine decodes what cannot stay as it is
 * @throws BlockscaleError `io`, `dialect`, `memory`
 */
export async function loadWeights(
  located: readonly Located[],
  receivers: readonly WeightReceiver[],
  {
    sources,
    engine,
    weights = "codes",
    signal,
    onProgress,
  }: {
    readonly sources: readonly Source[];
    readonly engine: Engine;
    /** The form that the members keep them in. */
    readonly weights?: WeightForm;
    readonly signal?: AbortSignal | undefined;
    readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  },
): Promise<void> {
  const total = located.reduce((sum, { weight }) => sum + bytesOf(weight), 0);
  const memory = located.reduce((sum, one) => sum + memoryOf(one, weights), 0);
  for (const receiver of receivers) await receiver.expect(memory / receivers.length);
  let done = 0;
  for (const one of located) {
    const jobs: Job[] = [];
    const share = bytesOf(one.weight) / receivers.length;
    for (const [rank, receiver] of receivers.entries()) {
      const parts = await partsOf(one, { rank, size: receivers.length }, { sources, engine });
      await receiver.declare(parts.declared);
      for (const piece of parts.pieces) {
        jobs.push(async () => {
          const filling = await piece();
          await receiver.fill(filling);
          // Empty by now, if it went to a worker.
          giveBack(filling.values);
          if (filling.scales !== null) giveBack(filling.scales);
          done += share / parts.pieces.length;
          onProgress?.({ done: Math.min(total, Math.round(done)), total });
        });
      }
    }
    await runAll(jobs, signal);
    for (const receiver of receivers) await receiver.seal(one.tensor.key);
  }
}

/** Runs jobs in their order, a few at a time. */
async function runAll(jobs: readonly Job[], signal: AbortSignal | undefined): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < jobs.length) {
      signal?.throwIfAborted();
      await jobs[next++]!();
    }
  };
  await Promise.all(Array.from({ length: Math.min(AHEAD, jobs.length) }, lane));
}
