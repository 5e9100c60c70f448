import type { Results, TrainingAnswer, TrainingOrder } from "./protocol.ts";

interface Waiting {
  resolve(result: Results[TrainingOrder["kind"]]): void;
  reject(error: Error): void;
}

/** A model that learns in a worker of its own, which answers one order after the other. */
export class LearnerThread {
  readonly #worker = new Worker(new URL("./train-worker.js", import.meta.url), { type: "module" });
  readonly #waiting: Waiting[] = [];

  constructor() {
    this.#worker.onmessage = ({ data }: MessageEvent<TrainingAnswer>) => {
      const { resolve, reject } = this.#waiting.shift()!;
      if ("failure" in data) reject(new Error(data.failure));
      else resolve(data.result);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      const error = new Error(event.message || "The worker stopped.");
      for (const { reject } of this.#waiting.splice(0)) reject(error);
    };
  }

  ask<Kind extends TrainingOrder["kind"]>(
    order: TrainingOrder & { readonly kind: Kind },
  ): Promise<Results[Kind]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve: resolve as Waiting["resolve"], reject });
      this.#worker.postMessage(order);
    });
  }

  /** Ends the worker. Calls that are open get no answer. */
  end(): void {
    this.#worker.terminate();
  }
}
