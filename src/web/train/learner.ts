import { openModel } from "../../model/open.ts";
import { createTrainer } from "../../train/create.ts";
import { wordAt } from "../../train/initial-values.ts";
import { warmupCosine } from "../../train/options.ts";
import type { RecipeName } from "../../train/recipes.ts";
import type { Trainer } from "../../train/trainer.ts";
import { LITTLE_LLAMA } from "./little-llama.ts";

/** Settings of a run. The same settings give the same losses. */
export interface RunSettings {
  readonly text: string;
  readonly recipe: RecipeName;
  readonly steps: number;
  readonly seed: number;
}

/** What rounding has done in a step, as parts of all values that were rounded. */
export interface Ranges {
  readonly flushed: number;
  readonly saturated: number;
}

/** A step of one model. */
export interface LearnerStep {
  /** Steps taken with this one. */
  readonly step: number;
  readonly loss: number;
  /** `null` where nothing is rounded. */
  readonly ranges: Ranges | null;
}

const BATCH = 8;
const CONTEXT = 64;

/** A Llama of 360 thousand parameters that reads bytes. */
const CONFIG = { ...LITTLE_LLAMA, vocab_size: 256, max_position_embeddings: 256 };

/** Fewest bytes of text that a batch can be taken from. */
const LEAST_TEXT = 4 * CONTEXT;

/**
 * A model that learns from a text. Two with the same settings but for the recipe begin alike and see the same
 * batches.
 */
export class Learner {
  readonly #ids: Int32Array;
  readonly #settings: RunSettings;
  readonly #trainer: Trainer;

  private constructor(settings: RunSettings, trainer: Trainer) {
    this.#settings = settings;
    this.#ids = Int32Array.from(new TextEncoder().encode(settings.text));
    this.#trainer = trainer;
  }

  /** @throws BlockscaleError `option`; RangeError: too little text */
  static async open(settings: RunSettings): Promise<Learner> {
    const { recipe, seed, steps } = settings;
    if (new TextEncoder().encode(settings.text).length < LEAST_TEXT)
      throw new RangeError(`At least ${LEAST_TEXT} bytes of text are needed.`);
    const schedule = warmupCosine(Math.max(1, Math.round(steps / 20)), steps);
    // The baseline build sums in the same order everywhere: a link to a run gives the same losses in every
    // browser.
    const options = { learningRate: 3e-3, schedule, variant: "baseline" as const };
    const counts = recipe !== "f32";
    return new Learner(
      settings,
      await createTrainer({ config: CONFIG, seed }, { ...options, recipe, counts }),
    );
  }

  async step(): Promise<LearnerStep> {
    const batch = this.#batch(this.#trainer.steps);
    const { loss } = await this.#trainer.step(batch, [BATCH, CONTEXT + 1]);
    return { step: this.#trainer.steps, loss, ranges: this.#ranges() };
  }

  #ranges(): Ranges | null {
    if (this.#settings.recipe === "f32") return null;
    let [count, flushed, saturated] = [0, 0, 0];
    for (const operands of this.#trainer.ranges().values()) {
      for (const one of Object.values(operands)) {
        count += one.count;
        flushed += one.flushed;
        saturated += one.saturated;
      }
    }
    const part = (n: number) => (count === 0 ? 0 : n / count);
    return { flushed: part(flushed), saturated: part(saturated) };
  }

  #batch(step: number): Int32Array {
    const width = CONTEXT + 1;
    const batch = new Int32Array(BATCH * width);
    for (let row = 0; row < BATCH; row++) {
      const start = wordAt(this.#settings.seed, 2 ** 20 + step, row) % (this.#ids.length - width + 1);
      batch.set(this.#ids.subarray(start, start + width), row * width);
    }
    return batch;
  }

  /** What the model writes by now, after the first letters of its text. */
  async sample(): Promise<string> {
    const model = await openModel(this.files(false));
    try {
      const ids = [...this.#ids.subarray(0, 8)];
      for await (const { id } of model.generate(ids, { maxTokens: 120, temperature: 0.5, seed: 1 }))
        ids.push(id);
      return new TextDecoder().decode(Uint8Array.from(ids.filter((id) => id >= 0)));
    } finally {
      await model.close();
    }
  }

  /** Its checkpoint, with or without what it takes to go on from it. */
  files(withOptimizer: boolean): Map<string, Blob> {
    return this.#trainer.files(withOptimizer);
  }
}
