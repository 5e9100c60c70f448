import { createHash } from "node:crypto";
import { estimateRun, type RunEstimate } from "../evaluate/estimate.ts";
import { refuseOtherVocabulary, type ScoredToken } from "../evaluate/evaluate.ts";
import { type ModelStates, scoreStreamed } from "../evaluate/head.ts";
import { type LayerOptions, runLayers } from "../evaluate/layers.ts";
import { planStreamed } from "../evaluate/streamed.ts";
import type { Source } from "../io/source.ts";
import { compileForModels } from "../model/build.ts";
import { EXACT, type Precisions } from "../model/precisions.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { Variant } from "../wasm/builds.ts";
import { ownMemory } from "../wasm/instantiate.ts";
import { identityOf } from "./conversion.ts";
import { hasKeys, isText, LONGEST_PATH, refuseRecord } from "./spec.ts";

type Files = ReadonlyMap<string, Source>;

/** A model, and the original that it is compared with, if any. */
export interface Inputs {
  readonly model: Files;
  readonly reference: Files | null;
}

/**
 * What several machines have to agree on to score one text: a plain record, kept in jobs and beside scores.
 */
export interface EvaluationSpec extends Pick<Precisions, "activations" | "weights" | "cache"> {
  readonly format: 1;
  /** Version of this package. */
  readonly version: string;
  /** Places of the model and of its original, as every machine sees them. */
  readonly model: string;
  readonly against: string | null;
  readonly context: number;
  /** The build of the kernels: fused sums end in other digits. */
  readonly variant: Variant;
  /** SHA-256 of all this and of the files. */
  readonly fingerprint: string;
}

type AskedEvaluation = Omit<EvaluationSpec, "format" | "variant" | "fingerprint"> & {
  readonly variant?: Variant;
};

/**
 * Completes what is asked for with the build that runs here, and takes the fingerprint of it and the files.
 */
export function completedSpec(asked: AskedEvaluation, { model, reference }: Inputs): EvaluationSpec {
  const { version, model: place, against, context, activations, weights, cache } = asked;
  const variant = asked.variant ?? compileForModels(undefined, { activations, weights }).variant;
  const fields = { version, model: place, against, context, activations, weights, cache, variant };
  const identities = [model, reference].map((files) => (files === null ? null : identityOf(files)));
  const fingerprint = createHash("sha256")
    .update(JSON.stringify([fields, identities]))
    .digest("hex");
  return { format: 1, ...fields, fingerprint };
}

const LONGEST_CONTEXT = 1 << 24;

/**
 * Checks what another machine has written, or somebody else.
 * @throws BlockscaleError `format`
 */
export function checkEvaluation(where: string, value: unknown): EvaluationSpec {
  const keys = ["format", "version", "model", "against", "context", "activations", "weights", "cache"];
  const isRight =
    hasKeys(value, [...keys, "variant", "fingerprint"]) &&
    value.format === 1 &&
    isText(value.version, 100) &&
    isText(value.model, LONGEST_PATH) &&
    (value.against === null || isText(value.against, LONGEST_PATH)) &&
    isContext(value.context) &&
    ["f32", "fp8", "int8"].includes(value.activations as string) &&
    ["codes", "int7"].includes(value.weights as string) &&
    ["f32", "fp8"].includes(value.cache as string) &&
    ["relaxed", "baseline"].includes(value.variant as string) &&
    isText(value.fingerprint, 64);
  return isRight
    ? (value as unknown as EvaluationSpec)
    : refuseRecord(where, "a record of an evaluation", value);
}

function isContext(value: unknown): value is number {
  const isEven = Number.isInteger(value) && (value as number) % 2 === 0;
  return isEven && (value as number) >= 2 && (value as number) <= LONGEST_CONTEXT;
}

export interface ScoreOptions {
  readonly threads: number;
  /** Whether this thread stays free meanwhile. */
  readonly keepsThreadFree?: boolean;
  readonly signal: AbortSignal;
  /** Called before a model runs: where its hidden states are kept, and who is told of its layers. */
  forModel(name: keyof Inputs): Promise<Pick<LayerOptions, "state" | "onProgress">>;
  /** Called before a model runs, after a trial of some tenths of a second; left out, there is no trial. */
  onEstimate?(estimates: readonly RunEstimate[]): void;
  /** Called while predictions are compared. */
  onScored?(progress: { readonly done: number; readonly total: number }): void;
}

/**
 * Scores a text, or some chunks of it: the same scores whatever the
 * other chunks are, on any number of threads.
 * Whether both models fit the text and each other is found out before a weight is read.
 * @throws BlockscaleError as `planStreamed`, `runLayers` and `scoreStreamed` do
 */
export async function scoreText(
  spec: Pick<EvaluationSpec, "context" | "activations" | "weights" | "cache"> & {
    readonly variant?: Variant;
  },
  { model, reference }: Inputs,
  ids: Int32Array,
  options: ScoreOptions,
): Promise<ScoredToken[]> {
  const { context, variant } = spec;
  const { threads, keepsThreadFree, signal } = options;
  const plan = await planStreamed(model, ids, context);
  const basePlan = reference && (await planStreamed(reference, ids, context));
  if (basePlan !== null) refuseOtherVocabulary(basePlan.config.vocabulary, plan.config.vocabulary);
  const shared = { threads, keepsThreadFree, variant, signal, memory: ownMemory() };
  const { activations, weights, cache } = spec;
  // The original is what it is: activations and the cache are rounded in the model alone.
  const models = {
    model: { plan, options: { ...shared, activations, weights, cache } },
    reference: basePlan && { plan: basePlan, options: { ...shared, ...EXACT } },
  };
  if (options.onEstimate !== undefined) {
    const { model: one, reference: base } = models;
    const all = base === null ? [one] : [one, base];
    const estimates: RunEstimate[] = [];
    for (const each of all) estimates.push(await estimateRun(each.plan, each.options));
    options.onEstimate(estimates);
  }
  const run = async (name: keyof Inputs, asked: Omit<ModelStates, "states">): Promise<ModelStates> => ({
    ...asked,
    states: await runLayers(asked.plan, { ...asked.options, ...(await options.forModel(name)) }),
  });
  const other = await run("model", models.model);
  const base = models.reference && (await run("reference", models.reference));
  return scoreStreamed(other, base, { signal, onProgress: options.onScored });
}

/** Scores as text: base64 of float64 [tokens, 4], which keeps every bit. */
export function packScores(scores: readonly ScoredToken[]): string {
  const numbers = scores.flatMap(({ base, other, divergence, sameTop }) => [
    base,
    other,
    divergence,
    sameTop ? 1 : 0,
  ]);
  return Buffer.from(Float64Array.from(numbers).buffer).toString("base64");
}

/**
 * Reads `packScores`.
 * @param chunks that they are of, as [first, end): `end` is none of them
 * @returns `null` where they are not the scores of these chunks
 */
export function unpackScores(
  text: unknown,
  context: number,
  [first, end]: readonly [number, number],
): ScoredToken[] | null {
  const half = context / 2;
  const bytes = Uint8Array.from(Buffer.from(typeof text === "string" ? text : "", "base64"));
  if (bytes.length !== 32 * half * (end - first)) return null;
  const numbers = new Float64Array(bytes.buffer);
  if (!numbers.every(Number.isFinite)) return null;
  return Array.from({ length: numbers.length / 4 }, (_, i) => {
    const [base, other, divergence, sameTop] = numbers.subarray(4 * i, 4 * i + 4);
    const index = (first + Math.floor(i / half)) * context + half + (i % half);
    return { base: base!, other: other!, divergence: divergence!, sameTop: sameTop === 1, index };
  });
}

/** @throws BlockscaleError `option`: it is another evaluation, or files were changed since */
export function refuseOtherEvaluation(where: string, found: EvaluationSpec, wanted: EvaluationSpec): void {
  if (found.fingerprint === wanted.fingerprint) return;
  const isVersion = found.version !== wanted.version;
  throw new BlockscaleError("option", {
    where,
    expected: "the model, the reference and the options that the evaluation was begun with",
    got: isVersion
      ? `an evaluation of version ${found.version}, and this is ${wanted.version}`
      : "other options, or files that differ in name, size or time",
    fix: isVersion
      ? "Use the same version on all machines."
      : "See that all machines have the same files under the same places.",
  });
}
