import { matrixOf, type PlainWeight } from "../checkpoint/read/weights.ts";
import { Engine } from "../engine/engine.ts";
import type { Source } from "../io/source.ts";
import { compileForModels } from "../model/build.ts";
import type { DecoderConfig } from "../model/config.ts";
import { Decoder } from "../model/decoder.ts";
import { loadWeights } from "../model/load.ts";
import { locate } from "../model/locate.ts";
import type { ModelActivations } from "../model/precisions.ts";
import { Program } from "../model/program.ts";
import { createTrainer } from "../train/create.ts";
import { instantiate } from "../wasm/instantiate.ts";
import { bitsOf, type WeightFormat } from "./formats.ts";
import { OutputErrors, type OutputSums, squares } from "./output-errors.ts";
import type { PlainModel } from "./rounded.ts";
import { decoderFor } from "./streamed.ts";

/** What a format does to a group of weights. */
export interface FormatEffect {
  readonly format: WeightFormat;
  /** Bits of the group, scales included. */
  readonly bits: number;
  /** SQNR of the layer's output on real activations, in decibels; Infinity for weights as they are. */
  readonly sqnr: number;
  /** Its effect on the loss, in the unit of {@link Sensitivity.measure}; sums over groups can be compared. */
  readonly score: number;
}

/**
 * Weights that must have one format, since many loaders fuse them: q, k
 * and v; gate and up; all experts of a layer.
 */
export interface SensitiveGroup {
  readonly name: string;
  readonly weights: readonly string[];
  readonly elements: number;
  readonly effects: readonly FormatEffect[];
}

export interface Sensitivity {
  /**
   * "gradient": sum of (dL/dy)^2 (error of y)^2; "output": noise to signal of y, times the part that its
   * block has in the residual stream; "measured": KL divergence.
   */
  readonly measure: "gradient" | "output" | "measured";
  readonly groups: readonly SensitiveGroup[];
}

export interface SensitivityOptions {
  /** Whether each matrix may have its own format, instead of q, k and v, or gate and up, sharing one. */
  readonly perMatrix?: boolean;
  /** "fp8": activations are rounded before they meet FP8 weights, as loaders do. "f32" if left out. */
  readonly activations?: ModelActivations;
  readonly signal?: AbortSignal;
}

/** Tokens of the chunks that go through a backward pass together. */
const BATCH_TOKENS = 2048;

/**
 * How much each group of linear layers suffers from each format, on the activations of a text. The model, its
 * rounding errors in each format and the activations of a few chunks are in memory together.
 * @param ids chunks of `context` tokens; what is left over is not looked at
 * @throws BlockscaleError `option`: as `decoderFor`
 */
export async function sensitivityOf(
  model: PlainModel,
  ids: Int32Array,
  context: number,
  formats: readonly WeightFormat[],
  { perMatrix = false, activations = "f32", signal }: SensitivityOptions = {},
): Promise<Sensitivity> {
  const { opened } = model;
  const config = decoderFor("sensitivity", opened, ids, context);
  const { module, variant } = compileForModels();
  const engine = new Engine(instantiate(module), variant);
  const errors = await OutputErrors.of(model, formats, activations, engine);
  const chunks = ids.subarray(0, Math.floor(ids.length / context) * context);
  const measure = hasBackward(config) ? "gradient" : "output";
  let shares = new Map<string, number>();
  if (measure === "gradient") await measureByGradients(model.files, chunks, context, errors, signal);
  else {
    const program = new Program(instantiate(module), { member: 0, size: 1 }, null, {
      activations: "f32",
      weights: "codes",
    });
    await loadWeights(locate(config, opened), [program.store], { sources: opened.sources, engine, signal });
    shares = measureByOutputs(program, config, chunks, context, errors, signal);
  }
  const groups = groupsOf(model.linears, perMatrix).map(([name, weights]) =>
    effectsOf(name, weights, formats, errors, shares.get(partOf(name))),
  );
  return { measure, groups };
}

/** Whether the trainer has a backward pass for the model: the Llama family without sliding windows. */
function hasBackward({ architecture, layers }: DecoderConfig): boolean {
  return /^(Llama|Qwen3)ForCausalLM$/.test(architecture) && layers.every(({ window }) => window === 0);
}

async function measureByGradients(
  files: ReadonlyMap<string, Source>,
  ids: Int32Array,
  context: number,
  errors: OutputErrors,
  signal: AbortSignal | undefined,
): Promise<void> {
  const trainer = await createTrainer(files, { recipe: "f32", signal });
  const batch = Math.max(1, Math.floor(BATCH_TOKENS / context));
  for (let at = 0; at < ids.length; at += batch * context) {
    signal?.throwIfAborted();
    const rows = ids.subarray(at, at + batch * context);
    await trainer.observe(rows, [rows.length / context, context], (program, name, seen) =>
      errors.add(program, name, seen.x, seen.rows, seen.dy),
    );
  }
  await trainer.close();
}

/**
 * @returns for each block of a layer ("3.mlp"), the mean square of its output over that of the residual
 * stream
 */
function measureByOutputs(
  program: Program,
  config: DecoderConfig,
  ids: Int32Array,
  context: number,
  errors: OutputErrors,
  signal: AbortSignal | undefined,
): Map<string, number> {
  const decoder = new Decoder(program, config);
  const residuals = new Map<string, { squares: number; rows: number }>();
  program.onProduct = ({ name }, _, x, rows) => {
    errors.add(program, name, x, rows);
    if (!isAddedToResidual(name)) return;
    // The decoder's buffer "x" holds the residual stream before this output is added.
    const stream = program.view(program.floats("x", context * config.hidden), context * config.hidden);
    const sums = residuals.get(name) ?? { squares: 0, rows: 0 };
    residuals.set(name, {
      squares: sums.squares + (squares(stream) * rows) / context,
      rows: sums.rows + rows,
    });
  };
  for (let at = 0; at < ids.length; at += context) {
    signal?.throwIfAborted();
    decoder.truncate(0);
    decoder.forward(ids.subarray(at, at + context), "none");
  }
  const totals = new Map<string, { signal: number; residual: number }>();
  for (const [name, { squares: residual }] of residuals) {
    const sum = totals.get(partOf(name)) ?? { signal: 0, residual: 0 };
    sum.signal += errors.sums.get(name)?.signal ?? 0;
    sum.residual += residual;
    totals.set(partOf(name), sum);
  }
  return new Map([...totals].map(([part, sum]) => [part, sum.signal / sum.residual]));
}

/** Whether the output of a linear layer is added to the residual stream. */
function isAddedToResidual(name: string): boolean {
  return /\.(o_proj|down_proj)\./.test(name);
}

/** The layer and block that a weight belongs to, such as "3.self_attn". */
function partOf(name: string): string {
  const found = /layers\.(\d+)\.([^.]+)/.exec(name);
  return found === null ? name : `${found[1]}.${found[2]}`;
}

/**
 * Weights that share a format, by a common name.
 * @param perMatrix whether only the experts of a layer share one
 */
function groupsOf<W extends { readonly name: string }>(
  weights: readonly W[],
  perMatrix: boolean,
): [string, W[]][] {
  const groups = new Map<string, W[]>();
  for (const weight of weights) {
    const module = weight.name.replace(/\.weight$/, "").replace(/\.experts\.\d+\..*/, ".experts.*");
    const name = perMatrix ? module : fusedName(module);
    groups.set(name, [...(groups.get(name) ?? []), weight]);
  }
  return [...groups];
}

/** The common name of modules that loaders fuse into one. */
function fusedName(module: string): string {
  return module
    .replace(/\.(q_proj|k_proj|v_proj)$/, ".qkv")
    .replace(/\.(q_a_proj|kv_a_proj_with_mqa)$/, ".q_a, kv_a")
    .replace(/\.(gate_proj|up_proj)$/, ".gate, up");
}

function effectsOf(
  name: string,
  weights: readonly PlainWeight[],
  formats: readonly WeightFormat[],
  errors: OutputErrors,
  share = 1,
): SensitiveGroup {
  const measured = weights.flatMap((weight) => errors.sums.get(weight.name) ?? []);
  // Latent attention never multiplies by kv_b_proj as a whole: the weight's own error is used instead.
  const isMeasured = measured.some(({ signal }) => signal > 0);
  const all: readonly OutputSums[] = isMeasured
    ? measured
    : weights.map((weight) => errors.ofWeight(weight.name));
  const signal = all.reduce((sum, one) => sum + one.signal, 0);
  const effects = formats.flatMap((format): FormatEffect[] => {
    let bits = 0;
    for (const { shape, type } of weights) {
      const { rows, cols } = matrixOf(shape);
      const kept = (type === "f32" ? 32 : 16) * rows * cols;
      bits += format === "bf16" ? kept : (bitsOf(format, [rows, cols]) ?? Number.NaN);
    }
    if (Number.isNaN(bits)) return [];
    if (format === "bf16") return [{ format, bits, sqnr: Infinity, score: 0 }];
    const noise = all.reduce((sum, one) => sum + (one.noise.get(format) ?? 0), 0);
    const gradient = all.reduce((sum, one) => sum + (one.score.get(format) ?? 0), 0);
    const hasGradient = all.some((one) => one.score.size > 0);
    const score = hasGradient ? gradient : (share * noise) / signal;
    return [{ format, bits, sqnr: 10 * Math.log10(signal / noise), score }];
  });
  const elements = weights.reduce((sum, { shape }) => sum + matrixOf(shape).rows * matrixOf(shape).cols, 0);
  return { name, weights: weights.map((weight) => weight.name), elements, effects };
}
