import type { DialectName } from "../../checkpoint/dialects/index.ts";
import { documentsOf, openCheckpoint } from "../../checkpoint/plan/folder.ts";
import { planQuantize } from "../../checkpoint/plan/quantize.ts";
import { resolve } from "../../checkpoint/read/resolve.ts";
import type { Weight } from "../../checkpoint/read/weights.ts";
import { fileStream, localConverter } from "../../checkpoint/run/run.ts";
import { Engine } from "../../engine/engine.ts";
import type { Source } from "../../io/source.ts";
import type { Model } from "../../model/model.ts";
import { openModel } from "../../model/open.ts";
import { compile } from "../../wasm/builds.ts";
import { instantiate } from "../../wasm/instantiate.ts";
import type { Converted, ModelFacts, Side } from "./protocol.ts";

/** A model, and what a conversion makes of it: both in memory, ready to run. */
export class ModelPair {
  readonly facts: ModelFacts;
  readonly #files: ReadonlyMap<string, Source>;
  readonly #original: Model;
  #converted: Model | null = null;

  private constructor(facts: ModelFacts, files: ReadonlyMap<string, Source>, original: Model) {
    this.facts = facts;
    this.#files = files;
    this.#original = original;
  }

  /** @throws BlockscaleError `dialect`: an architecture that is not known; `memory`; `format`; `io` */
  static async open(
    name: string,
    files: ReadonlyMap<string, Source>,
    onProgress: (part: number) => void,
  ): Promise<ModelPair> {
    const model = await openModel(files, { onProgress: ({ done, total }) => onProgress(done / total) });
    const { checkpoint } = await openCheckpoint(files, name);
    const parameters = resolve(checkpoint).weights.reduce((sum, weight) => sum + countOf(weight), 0);
    const facts = {
      name,
      architecture: model.config.architecture,
      parameters,
      bytes: weightBytes(files),
      context: model.config.context,
      writes: model.config.kind === "decoder",
      hasTokenizer: model.tokenizer !== null,
      hasChat: model.tokenizer?.hasChat ?? false,
    };
    return new ModelPair(facts, files, model);
  }

  /** The model of a side; `null` where nothing was converted. */
  of(side: Side): Model | null {
    return side === "original" ? this.#original : this.#converted;
  }

  get original(): Model {
    return this.#original;
  }

  /**
   * Converts the original as the converter of the page does, in memory, and opens what came out.
   * @throws BlockscaleError `dialect`: NaN or Inf in a weight; a format that does not fit the model
   */
  async convert(to: DialectName | null, onProgress: (part: number) => void): Promise<Converted | null> {
    const before = this.#converted;
    this.#converted = null;
    await before?.close();
    if (to === null) return null;
    const opened = await openCheckpoint(this.#files, this.facts.name);
    const plan = planQuantize(opened.checkpoint, { to });
    const { module, variant } = compile();
    const convert = localConverter(new Engine(instantiate(module), variant), opened.sources);
    const files = new Map(opened.others.map((name) => [name, this.#files.get(name)!]));
    for (const { name, text } of documentsOf(opened, plan, { kind: "quantize", to }))
      files.set(name, new Blob([text]));
    const total = plan.files.reduce((sum, { size }) => sum + size, 0);
    let done = 0;
    for (const file of plan.files) {
      const stream = fileStream(file, {
        sources: opened.sources,
        convert,
        onProgress: ({ bytes }) => onProgress((done + bytes) / total),
      });
      files.set(file.name, await new Response(stream).blob());
      done += file.size;
    }
    this.#converted = await openModel(files);
    const changed = plan.tensors.filter(({ action }) => action !== "copy").length;
    return { to, bytes: weightBytes(files), changed };
  }

  async close(): Promise<void> {
    await this.#original.close();
    await this.#converted?.close();
  }
}

function countOf(weight: Weight): number {
  const { shape } = weight.kind === "other" ? weight.tensor : weight;
  return shape.reduce((n, side) => n * side, 1);
}

function weightBytes(files: ReadonlyMap<string, Source>): number {
  return [...files].reduce((sum, [name, { size }]) => sum + (name.endsWith(".safetensors") ? size : 0), 0);
}
