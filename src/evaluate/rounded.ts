import { decider } from "../checkpoint/dialects/rules.ts";
import { type OpenedCheckpoint, openCheckpoint } from "../checkpoint/plan/folder.ts";
import { resolve } from "../checkpoint/read/resolve.ts";
import { widen } from "../checkpoint/read/values.ts";
import { matrixOf, type PlainWeight, type Weight } from "../checkpoint/read/weights.ts";
import { readPlainRows } from "../checkpoint/run/rows.ts";
import type { Engine } from "../engine/engine.ts";
import type { Source } from "../io/source.ts";
import { serializeHeader } from "../safetensors/header.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { type WeightFormat, weightFormats } from "./formats.ts";

/** A model with BF16, F16 or F32 weights, which can be rounded to other formats. */
export class PlainModel {
  readonly files: ReadonlyMap<string, Source>;
  readonly opened: OpenedCheckpoint;
  readonly #weights: readonly Weight[];
  /** The matrices that `quantize` would quantise. */
  readonly linears: readonly PlainWeight[];

  private constructor(files: ReadonlyMap<string, Source>, opened: OpenedCheckpoint) {
    this.files = files;
    this.opened = opened;
    this.#weights = resolve(opened.checkpoint).weights;
    const decide = decider({}, false, opened.checkpoint.config);
    this.linears = this.#weights.filter(
      (weight): weight is PlainWeight => weight.kind === "plain" && decide(weight).quantize,
    );
  }

  /** @throws BlockscaleError `dialect`: it is quantised already */
  static async open(files: ReadonlyMap<string, Source>): Promise<PlainModel> {
    const model = new PlainModel(files, await openCheckpoint(files, "the model"));
    const scaled = model.#weights.find(({ kind }) => kind === "scaled");
    if (scaled === undefined && model.linears.length > 0) return model;
    throw new BlockscaleError("dialect", {
      where: scaled?.name ?? "the model",
      expected: "matrices of BF16, F16 or F32",
      got: scaled === undefined ? "none that would be quantised" : "codes and scales",
      fix: "Give the original, or the output of blockscale dequantize.",
    });
  }

  /** All values of a matrix. */
  async values(weight: PlainWeight): Promise<Float32Array> {
    const { rows, cols } = matrixOf(weight.shape);
    const bytes = await readPlainRows(weight, { slice: 0, firstRow: 0, rows }, this.opened.sources);
    return widen(weight.type, bytes, new Float32Array(rows * cols));
  }

  /**
   * The files of the model with its matrices rounded: float32 values that are exactly those of their
   * codes and scales. The files are in memory as a whole.
   * @param formatOf `undefined` or "bf16" leaves a matrix as it is
   */
  async rounded(
    formatOf: (name: string) => WeightFormat | undefined,
    engine: Engine,
  ): Promise<Map<string, Source>> {
    const linears = new Set<string>(this.linears.map(({ name }) => name));
    const parts: { readonly spec: Parameters<typeof serializeHeader>[1][number]; readonly data: BlobPart }[] =
      [];
    for (const weight of this.#weights) {
      const place = weight.kind === "other" ? weight.tensor : weight.kind === "plain" ? weight.values : null;
      if (place === null) continue;
      const format = linears.has(weight.name) ? formatOf(weight.name) : undefined;
      if (weight.kind === "plain" && format !== undefined && weightFormats[format] !== null) {
        const values = roundedValues(await this.values(weight), weight.shape, format, engine);
        parts.push({
          spec: { name: place.name, dtype: "F32", shape: weight.shape },
          data: values as BlobPart,
        });
      } else {
        const bytes = await this.opened.sources[place.shard]!.slice(place.start, place.end).arrayBuffer();
        parts.push({ spec: { name: place.name, dtype: place.dtype, shape: place.shape }, data: bytes });
      }
    }
    const { bytes } = serializeHeader(
      "model.safetensors",
      parts.map(({ spec }) => spec),
      new Map(),
    );
    const files = new Map([...this.files].filter(([name]) => !/\.safetensors(\.index\.json)?$/.test(name)));
    files.set("model.safetensors", new Blob([bytes as BlobPart, ...parts.map(({ data }) => data)]));
    return files;
  }
}

/** Values rounded to a format: those of their codes and scales. */
export function roundedValues(
  values: Float32Array,
  shape: readonly number[],
  format: WeightFormat,
  engine: Engine,
): Float32Array {
  const scheme = weightFormats[format];
  return scheme === null ? values : engine.dequantize(engine.quantize(values, shape, scheme));
}
