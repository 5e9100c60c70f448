import { availableParallelism } from "node:os";
import type { Divergence } from "../evaluate/divergence.ts";
import type { RunEstimate } from "../evaluate/estimate.ts";
import { checkContext, type Evaluation, evaluationOf, type ScoredToken } from "../evaluate/evaluate.ts";
import { type FigureRow, figureRows } from "../evaluate/figure-rows.ts";
import type { LayerProgress } from "../evaluate/layers.ts";
import { type WorstToken, worstInText } from "../evaluate/worst.ts";
import { makeFolderAt, readAt } from "../io/place.ts";
import { type Inputs, scoreText } from "../jobs/evaluation.ts";
import { FileStates, stateKey } from "../jobs/hidden-states.ts";
import { compileForModels } from "../model/build.ts";
import { EXACT, type Precisions } from "../model/precisions.ts";
import { openTokenizer, type Tokenizer } from "../model/tokenizer.ts";
import { evaluationPage } from "../report/evaluation/page.ts";
import { readHeader } from "../safetensors/read.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import * as figures from "./figures.ts";
import { type Input, openInput } from "./input.ts";
import { throwIfInterrupted } from "./interruption.ts";
import { print, printJson } from "./print.ts";
import { type ReservedFile, reserveReport } from "./report.ts";
import { version } from "./version.ts";

export interface EvaluateFlags extends Pick<Precisions, "activations" | "weights" | "cache"> {
  readonly against?: string;
  readonly text?: string;
  readonly tokens?: string;
  readonly context: number;
  readonly threads?: number;
  readonly state?: string;
  readonly worst: number;
  readonly report?: string;
  readonly json?: true;
}

/** What an evaluation needs: models, tokenizer and tokens. */
export interface OpenedEvaluation {
  readonly inputs: Inputs;
  readonly tokenizer: Tokenizer | null;
  readonly ids: Int32Array;
}

/** A way to compute the scores of all tokens: here, or by workers. */
export type Scoring = (
  opened: OpenedEvaluation,
  flags: EvaluateFlags,
  signal: AbortSignal,
) => Promise<readonly ScoredToken[]>;

/** `blockscale evaluate MODEL`: perplexity, and the divergence from a reference. */
export async function evaluate(
  place: string,
  flags: EvaluateFlags,
  signal: AbortSignal,
  score: Scoring = scoreHere,
): Promise<void> {
  const page = await reserveReport(flags.report, placesOfEvaluation(place, flags));
  try {
    await withEvaluation(place, flags, signal, async (opened) => {
      const evaluation = evaluationOf(flags.context, await score(opened, flags, signal));
      await tellFigures(place, flags, opened, evaluation, page);
    });
  } finally {
    await page?.discard();
  }
}

async function tellFigures(
  place: string,
  flags: EvaluateFlags,
  { inputs, ids, tokenizer }: OpenedEvaluation,
  evaluation: Evaluation,
  page: ReservedFile | null,
): Promise<void> {
  const { activations, weights, cache, against } = flags;
  const isCompared = inputs.reference !== null;
  const worst = isCompared ? worstInText(evaluation, ids, tokenizer, flags.worst) : [];
  const { scores: _, ...rest } = evaluation;
  if (flags.json === true)
    await printJson({ model: place, against: against ?? null, activations, weights, cache, ...rest, worst });
  else await print(linesOf(rest, worst, isCompared).join("\n"));
  await page?.write(
    evaluationPage({
      model: place,
      reference: against ?? null,
      activations,
      weights,
      evaluation,
      worst,
      sensitivity: null,
    }),
  );
}

/** Places that are read and written, besides that of a report. */
export function placesOfEvaluation(
  model: string,
  { against, text, tokens, state }: Partial<Pick<EvaluateFlags, "against" | "text" | "tokens" | "state">>,
): string[] {
  return [model, against, text, tokens, state].filter((place) => place !== undefined);
}

/** Opens what an evaluation needs, and closes it when something has been done with it. */
export async function withEvaluation(
  place: string,
  flags: EvaluateFlags,
  signal: AbortSignal,
  action: (opened: OpenedEvaluation) => Promise<void>,
): Promise<void> {
  const open: Input[] = [];
  try {
    open.push(await openInput(place, signal));
    const model = open[0]!.files;
    if (flags.against !== undefined) open.push(await openInput(flags.against, signal));
    const tokenizer = await openTokenizer(model);
    const ids = await idsOf(flags, tokenizer);
    checkContext(flags.context, ids.length);
    await action({ inputs: { model, reference: open[1]?.files ?? null }, tokenizer, ids });
  } finally {
    for (const input of open) await input.close();
  }
}

/** Scores all tokens on this machine. */
export async function scoreHere(
  { inputs, ids }: OpenedEvaluation,
  flags: EvaluateFlags,
  signal: AbortSignal,
): Promise<ScoredToken[]> {
  announce(flags, ids, inputs);
  const states: FileStates[] = [];
  const scores = await scoreText(flags, inputs, ids, {
    threads: flags.threads ?? availableParallelism(),
    signal,
    forModel: async (name) => {
      const { activations, weights, cache } = name === "model" ? flags : EXACT;
      if (flags.state !== undefined) {
        await makeFolderAt(flags.state);
        // The builds of the kernels round sums in different ways.
        const { variant } = compileForModels(undefined, { activations, weights });
        const settings = [flags.context, activations, weights, cache, variant, version()];
        states.push(new FileStates(flags.state, name, await stateKey(inputs[name]!, ids, settings)));
      }
      return { state: states.at(-1), onProgress: tellLayers(name) };
    },
    onEstimate: tellEstimate,
    onScored: ({ done, total }) => tell(`predictions: ${Math.floor((100 * done) / total)} %`),
  });
  tell("");
  await throwIfInterrupted(signal);
  for (const state of states) await state.remove();
  return scores;
}

/** Tells beforehand how long a run from the start takes. */
function tellEstimate(estimates: readonly RunEstimate[]): void {
  const seconds = estimates.reduce(
    (sum, one) => sum + one.bytes / one.bytesPerSecond + one.products / one.productsPerSecond,
    0,
  );
  const trials = estimates.map(
    ({ bytesPerSecond, productsPerSecond }) =>
      `${figures.bytes(bytesPerSecond)} and ${(productsPerSecond / 1e9).toPrecision(2)} G multiplications a second`,
  );
  process.stderr.write(
    `A whole run takes about ${figures.duration(seconds)}, by the speed of one trial product (${trials.join("; ")}); attention is not counted.\n`,
  );
}

/** Shows a line of progress that is overwritten, on a terminal. */
function tell(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
}

/**
 * Tells how far a model is; and once, when its first layer tells how
 * long one takes, how long the others will.
 */
function tellLayers(name: string): (progress: LayerProgress) => void {
  const started = performance.now();
  let ran = 0;
  return ({ done, total }) => {
    ran++;
    const left = figures.duration(((performance.now() - started) / 1000 / ran) * (total - done));
    if (ran === 1 && done < total) {
      tell("");
      process.stderr.write(`${name}: about ${left} for the ${total - done} layers that are left.\n`);
    }
    tell(`${name}: layer ${done} of ${total}, ${left} left`);
  };
}

function announce(flags: EvaluateFlags, ids: Int32Array, { model, reference }: Inputs): void {
  const size = [...model, ...(reference ?? [])].reduce(
    (sum, [name, source]) => sum + (name.endsWith(".safetensors") ? source.size : 0),
    0,
  );
  const chunks = Math.floor(ids.length / flags.context);
  process.stderr.write(
    `${chunks} chunks of ${flags.context} tokens; reads at most ${figures.bytes(size)}, a layer at a time.\n`,
  );
}

/** The tokens of a text, by the model's tokenizer, or `ids` of a safetensors file. */
export async function idsOf(
  flags: Pick<EvaluateFlags, "text" | "tokens">,
  tokenizer: Tokenizer | null,
): Promise<Int32Array> {
  const path = flags.tokens ?? flags.text!;
  const bytes = await readAt(path);
  if (flags.tokens !== undefined) return idsIn(path, bytes);
  if (tokenizer !== null) return tokenizer.encode(new TextDecoder().decode(bytes), { special: false });
  throw new BlockscaleError("option", {
    where: "evaluate: --text",
    expected: "a tokenizer.json among the files of the model",
    got: "none",
    fix: "Fetch it, or give the ids of tokens: --tokens FILE.",
  });
}

async function idsIn(path: string, bytes: Uint8Array): Promise<Int32Array> {
  const source = new Blob([bytes as BlobPart]);
  const { tensors, dataStart } = await readHeader(path, source);
  const found = tensors.find(({ name }) => name === "ids");
  if (found?.dtype !== "I32" && found?.dtype !== "I64") {
    throw new BlockscaleError("format", {
      where: path,
      expected: "a tensor `ids` of I32 or I64",
      got: found === undefined ? "none" : found.dtype,
      fix: "Save the tokens as one list: safetensors.numpy.save_file({'ids': ids.astype('int32')}, path).",
    });
  }
  const data = await source.slice(dataStart + found.begin, dataStart + found.end).arrayBuffer();
  return found.dtype === "I32" ? new Int32Array(data) : Int32Array.from(new BigInt64Array(data), Number);
}

/** Rows and names as llama-perplexity prints them, so that what reads its output reads this. */
function linesOf(e: Divergence, worst: readonly WorstToken[], isCompared: boolean): string[] {
  if (!isCompared)
    return [`Final estimate: PPL = ${e.perplexity.toFixed(4)} +/- ${e.errors.perplexity.toFixed(5)}`];
  const lines = figureRows(e).flatMap(({ title, rows }) => {
    const width = title.startsWith("Perplexity") ? 30 : 0;
    return [`====== ${title} ======`, ...rows.map((row) => lineOf(row, width)), ""];
  });
  return [
    ...lines.slice(0, -1),
    ...(worst.length === 0 ? [] : ["", "====== Where they differ most ======"]),
    ...worst.map(
      ({ divergence, p, q, before, token, after }) =>
        `KLD ${divergence.toFixed(4)}, p ${p.toFixed(4)} -> ${q.toFixed(4)}: ${figures.text(before)} [${figures.text(token)}] ${figures.text(after)}`,
    ),
  ];
}

function lineOf({ name, value, error, isShare }: FigureRow, width: number): string {
  const digits = isShare ? (width > 0 ? 2 : 3) : 6;
  const shown = (x: number, columns: number): string =>
    (isShare ? 100 * x : x).toFixed(digits).padStart(columns);
  const unit = isShare ? "%" : "";
  const spread = error === undefined ? unit : ` ± ${shown(error, isShare ? 5 : 10)}${unit && ` ${unit}`}`;
  return `${name.padEnd(width)}: ${shown(value, isShare ? 6 : 10)}${spread}`;
}
