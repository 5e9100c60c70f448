import type { Override } from "../checkpoint/dialects/overrides.ts";
import { compileSelection } from "../checkpoint/dialects/rules.ts";
import { type OpenedCheckpoint, openCheckpoint } from "../checkpoint/plan/folder.ts";
import { outputsOf } from "../checkpoint/plan/outputs.ts";
import { planInto } from "../checkpoint/plan/quantize.ts";
import { resolve } from "../checkpoint/read/resolve.ts";
import { widen } from "../checkpoint/read/values.ts";
import { matrixOf, type PlainWeight } from "../checkpoint/read/weights.ts";
import { outputBytes } from "../checkpoint/run/outputs.ts";
import { dequantizeRows, readPlainRows, readScaledRows } from "../checkpoint/run/rows.ts";
import { localConverter } from "../checkpoint/run/run.ts";
import type { Engine } from "../engine/engine.ts";
import type { Source } from "../io/source.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { dialectFor, type WeightFormat } from "./formats.ts";

/** A model with BF16, F16 or F32 weights, which can be rounded to other formats. */
export class PlainModel {
  readonly files: ReadonlyMap<string, Source>;
  readonly opened: OpenedCheckpoint;
  /** The matrices that `quantize` would quantise. */
  readonly linears: readonly PlainWeight[];

  private constructor(
    files: ReadonlyMap<string, Source>,
    opened: OpenedCheckpoint,
    linears: readonly PlainWeight[],
  ) {
    this.files = files;
    this.opened = opened;
    this.linears = linears;
  }

  /** @throws BlockscaleError `dialect`: it is quantised already */
  static async open(files: ReadonlyMap<string, Source>): Promise<PlainModel> {
    const opened = await openCheckpoint(files, "the model");
    const { weights } = resolve(opened.checkpoint);
    const decide = compileSelection({}, false, opened.checkpoint.config);
    const linears = weights.filter(
      (weight): weight is PlainWeight => weight.kind === "plain" && decide(weight).quantize,
    );
    const scaled = weights.find(({ kind }) => kind === "scaled");
    if (scaled === undefined && linears.length > 0) return new PlainModel(files, opened, linears);
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
   * The model as `quantize --overrides` writes it, in memory as a whole.
   * @param formats of matrices by name, all of one dialect; the others stay as they are
   */
  async written(
    formats: ReadonlyMap<string, WeightFormat>,
    engine: Engine,
  ): Promise<ReadonlyMap<string, Source>> {
    if ([...formats.values()].every((format) => format === "bf16")) return this.files;
    const { opened } = this;
    const { sources } = opened;
    const overrides = [...overridesOf(formats), { pattern: "*", scheme: "keep" }];
    const dialect = dialectFor(formats.values())!;
    const plan = planInto(dialect, opened.checkpoint, { overrides });
    const convert = localConverter(engine, sources);
    const written = new Map<string, Source>();
    const direction = { kind: "quantize", to: dialect.name } as const;
    for (const output of outputsOf(this.files, opened, plan, direction)) {
      const parts: Blob[] = [];
      for await (const bytes of outputBytes(output, { sources, convert, measure: "sample" }))
        parts.push(new Blob([bytes as BlobPart]));
      written.set(output.name, new Blob(parts));
    }
    return written;
  }

  /** Values rounded to a format, those of its codes and scales, of each matrix that it can hold. */
  async *rounded(
    format: WeightFormat,
    engine: Engine,
  ): AsyncGenerator<readonly [name: string, values: Float32Array], void, void> {
    const files = await this.written(new Map(this.linears.map(({ name }) => [name, format])), engine);
    const { checkpoint, sources } = await openCheckpoint(files, "the rounded model");
    for (const weight of resolve(checkpoint).weights) {
      if (weight.kind !== "scaled") continue;
      const { rows } = matrixOf(weight.shape);
      const read = await readScaledRows(weight, { slice: 0, firstRow: 0, rows }, sources);
      yield [weight.name, dequantizeRows(read, "f32", engine) as Float32Array];
    }
  }
}

/**
 * What `quantize --overrides` takes: the format of each weight by its name. The experts of a layer have one
 * pattern together, as they have one format.
 */
export function overridesOf(formats: ReadonlyMap<string, WeightFormat>): Override[] {
  const patterns = new Map<string, WeightFormat>();
  for (const [name, format] of formats)
    patterns.set(name.replace(/\.experts\.\d+\..*/, ".experts.*"), format);
  return Array.from(patterns, ([pattern, format]) => ({
    pattern,
    scheme: format === "bf16" ? "keep" : format,
  }));
}
