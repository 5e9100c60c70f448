import { convertCheckpoint } from "../../checkpoint/convert.ts";
import type { DialectName } from "../../checkpoint/dialects/index.ts";
import { openCheckpoint } from "../../checkpoint/plan/folder.ts";
import { resolve } from "../../checkpoint/read/resolve.ts";
import { countOf, type Weight } from "../../checkpoint/read/weights.ts";
import type { Source } from "../../io/source.ts";
import type { Model } from "../../model/model.ts";
import { openModel } from "../../model/open.ts";
import { openEngine } from "../workers/engine.ts";
import type { ConvertedModel, ModelFacts, ModelSide } from "./protocol.ts";

/** How many threads share the work, and the page's port that makes them. */
export interface Threading {
  readonly threads: number;
  readonly workers?: MessagePort;
}

/** A model, and what a conversion makes of it: both in memory, ready to run. */
export class ModelPair {
  readonly facts: ModelFacts;
  readonly #files: ReadonlyMap<string, Source>;
  readonly #threading: Threading;
  readonly #original: Model;
  #converted: Model | null = null;

  private constructor(
    facts: ModelFacts,
    files: ReadonlyMap<string, Source>,
    threading: Threading,
    original: Model,
  ) {
    this.facts = facts;
    this.#files = files;
    this.#threading = threading;
    this.#original = original;
  }

  /** @throws BlockscaleError `dialect`: an architecture that is not known; `memory`; `format`; `io` */
  static async open(
    name: string,
    files: ReadonlyMap<string, Source>,
    threading: Threading,
    onProgress: (share: number) => void,
  ): Promise<ModelPair> {
    const model = await openModel(files, {
      ...threading,
      onProgress: ({ done, total }) => onProgress(done / total),
    });
    const { checkpoint } = await openCheckpoint(files, name);
    const parameters = resolve(checkpoint).weights.reduce((sum, weight) => sum + countOf(shapeOf(weight)), 0);
    const facts = {
      name,
      architecture: model.config.architecture,
      parameters,
      bytes: weightBytes(files),
      context: model.config.context,
      threads: threading.threads,
      writes: model.config.kind === "decoder",
      hasTokenizer: model.tokenizer !== null,
      hasChat: model.tokenizer?.hasChat ?? false,
    };
    return new ModelPair(facts, files, threading, model);
  }

  /** The model of a side; `null` where nothing was converted. */
  of(side: ModelSide): Model | null {
    return side === "original" ? this.#original : this.#converted;
  }

  get original(): Model {
    return this.#original;
  }

  /**
   * Converts the original as the converter of the page does, in memory, and opens what came out.
   * @throws BlockscaleError `dialect`: NaN or Inf in a weight; a format that does not fit the model
   */
  async convert(to: DialectName | null, onProgress: (share: number) => void): Promise<ConvertedModel | null> {
    const before = this.#converted;
    this.#converted = null;
    await before?.close();
    if (to === null) return null;
    const { files, plan } = await convertCheckpoint(this.#files, {
      engine: openEngine(),
      to,
      onProgress: ({ bytes, size }) => onProgress(bytes / size),
    });
    this.#converted = await openModel(files, this.#threading);
    const changed = plan.tensors.filter(({ action }) => action !== "copy").length;
    return { to, bytes: weightBytes(files), changed };
  }

  async close(): Promise<void> {
    await this.#original.close();
    await this.#converted?.close();
  }
}

const shapeOf = (weight: Weight) => (weight.kind === "other" ? weight.tensor : weight).shape;

function weightBytes(files: ReadonlyMap<string, Source>): number {
  return [...files].reduce((sum, [name, { size }]) => sum + (name.endsWith(".safetensors") ? size : 0), 0);
}
