import type { Ranges, RunSettings } from "./learner.ts";
import { LearnerThread } from "./learner-thread.ts";

/** A step of both models. */
export interface PairStep {
  /** Steps taken with this one. */
  readonly step: number;
  readonly f32: number;
  readonly low: number;
  readonly ranges: Ranges;
}

/**
 * Two models that begin alike and see the same text, side by side: one learns in float32, the other by a
 * recipe of low precision. Each has a thread of its own, which needs no memory that is shared, and no worker
 * that starts others.
 */
export class TrainingPair {
  readonly #f32 = new LearnerThread();
  readonly #low = new LearnerThread();
  steps = 0;

  /** @throws Error: too little text, or no worker */
  async open(settings: RunSettings): Promise<void> {
    await Promise.all([
      this.#f32.ask({ kind: "start", settings: { ...settings, recipe: "f32" } }),
      this.#low.ask({ kind: "start", settings }),
    ]);
  }

  async step(): Promise<PairStep> {
    const [f32, low] = await Promise.all([this.#f32.ask({ kind: "step" }), this.#low.ask({ kind: "step" })]);
    this.steps = low.step;
    return { step: low.step, f32: f32.loss, low: low.loss, ranges: low.ranges! };
  }

  /** What the model of low precision writes by now. */
  sample(): Promise<string> {
    return this.#low.ask({ kind: "sample" });
  }

  /** The checkpoint of low precision's model, as a .zip. */
  archive(): Promise<Blob> {
    return this.#low.ask({ kind: "files" });
  }

  end(): void {
    this.#f32.end();
    this.#low.end();
  }
}
