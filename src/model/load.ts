import type { Engine } from "../engine/engine.ts";
import { giveBack, type Source } from "../io/source.ts";
import type { DeclaredRows, LoadedRows } from "./loaded-tensor.ts";
import { bytesOf, type Located, memoryOf } from "./locate.ts";
import { readsOf } from "./reads.ts";
import type { WeightForm } from "./store.ts";

/** A member that stores its share of the weights. */
export interface WeightReceiver {
  /** Grows memory for about so many bytes of tensors, before any of them is declared. */
  growFor(bytes: number): void | Promise<void>;
  declare(declared: DeclaredRows): void | Promise<void>;
  fill(loaded: LoadedRows): void | Promise<void>;
  seal(key: string): void | Promise<void>;
}

export interface LoadProgress {
  /** Bytes of weights that are in memory, of all there are. */
  readonly done: number;
  readonly total: number;
}

/** Reads under way at a time. */
const READS_AT_ONCE = 4;

type ReadTask = () => Promise<void>;

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
  for (const receiver of receivers) await receiver.growFor(memory / receivers.length);
  let done = 0;
  for (const one of located) {
    const tasks: ReadTask[] = [];
    const bytesOfMember = bytesOf(one.weight) / receivers.length;
    for (const [member, receiver] of receivers.entries()) {
      const { declared, reads } = await readsOf(one, { member, size: receivers.length }, { sources, engine });
      await receiver.declare(declared);
      for (const read of reads) {
        tasks.push(async () => {
          const loaded = await read();
          await receiver.fill(loaded);
          // Empty by now, if it went to a worker.
          giveBack(loaded.values);
          if (loaded.scales !== null) giveBack(loaded.scales);
          done += bytesOfMember / reads.length;
          onProgress?.({ done: Math.min(total, Math.round(done)), total });
        });
      }
    }
    await runAll(tasks, signal);
    for (const receiver of receivers) await receiver.seal(one.tensor.key);
  }
}

/** Runs tasks in their order, a few at a time. */
async function runAll(tasks: readonly ReadTask[], signal: AbortSignal | undefined): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < tasks.length) {
      signal?.throwIfAborted();
      await tasks[next++]!();
    }
  };
  await Promise.all(Array.from({ length: Math.min(READS_AT_ONCE, tasks.length) }, lane));
}
