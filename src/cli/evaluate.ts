import { createHash } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import {
  type Evaluation,
  evaluate as evaluateModel,
  type ScoredToken,
  worstTokens,
} from "../evaluate/evaluate.ts";
import { type LayerProgress, openStreamed, type StateStore } from "../evaluate/streamed.ts";
import { createFile, makeFolder, systemFault } from "../io/node.ts";
import type { Source } from "../io/source.ts";
import { fingerprintOf } from "../jobs/fingerprint.ts";
import { EXACT, type Precisions } from "../model/precisions.ts";
import { openTokenizer, type Tokenizer } from "../model/tokenizer.ts";
import { readHeader } from "../safetensors/read.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import * as figures from "./figures.ts";
import { type Input, openInput } from "./input.ts";
import { heed } from "./interruption.ts";
import { print, printJson } from "./print.ts";

export interface EvaluateFlags extends Pick<Precisions, "activations" | "weights" | "cache"> {
  readonly against?: string;
  readonly text?: string;
  readonly tokens?: string;
  readonly context: number;
  readonly threads?: number;
  readonly state?: string;
  readonly worst: number;
  readonly json?: true;
}

/** `blockscale evaluate MODEL`: perplexity, and the divergence from a reference. */
export async function evaluate(place: string, flags: EvaluateFlags, signal: AbortSignal): Promise<void> {
  const inputs: Input[] = [];
  const states: FileStates[] = [];
  try {
    const opened = async (path: string) => {
      const input = await openInput(path, signal);
      inputs.push(input);
      return input.files;
    };
    const files = await opened(place);
    const reference = flags.against === undefined ? undefined : await opened(flags.against);
    const tokenizer = await openTokenizer(files);
    const ids = await idsOf(flags, tokenizer);
    announce(flags, ids, [files, ...(reference ? [reference] : [])]);
    const predictorOf = async (
      name: string,
      of: ReadonlyMap<string, Source>,
      { activations, weights, cache }: Pick<Precisions, "activations" | "weights" | "cache">,
    ) => {
      const state =
        flags.state === undefined
          ? undefined
          : await stateOf(flags, name, of, ids, [activations, weights, cache]);
      if (state !== undefined) states.push(state);
      const onProgress = tellLayers(name);
      const threads = flags.threads ?? availableParallelism();
      return openStreamed(of, ids, flags.context, {
        threads,
        activations,
        weights,
        cache,
        signal,
        state,
        onProgress,
      });
    };
    const model = await predictorOf("model", files, flags);
    // The original is what it is: activations and the cache are rounded in the model alone.
    const base = reference === undefined ? undefined : await predictorOf("reference", reference, EXACT);
    const evaluation = await evaluateModel(model, ids, {
      context: flags.context,
      reference: base,
      signal,
      onProgress: ({ done, total }) => tell(`chunk ${done} of ${total}`),
    });
    tell("");
    await model.close();
    await base?.close();
    await heed(signal);
    const worst = reference === undefined ? [] : worstOf(evaluation, ids, tokenizer, flags.worst);
    const { scores: _, ...rest } = evaluation;
    if (flags.json === true)
      await printJson({
        model: place,
        against: flags.against ?? null,
        activations: flags.activations,
        weights: flags.weights,
        cache: flags.cache,
        ...rest,
        worst,
      });
    else await print(linesOf(rest, worst, reference !== undefined).join("\n"));
    for (const state of states) await state.remove();
  } finally {
    for (const input of inputs) await input.close();
  }
}

/** A line that is written over, where somebody watches. */
function tell(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
}

/** Tells how far a model is; and once, when its first layer tells how long one takes, how long the others will. */
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

function announce(
  flags: EvaluateFlags,
  ids: Int32Array,
  models: readonly ReadonlyMap<string, Source>[],
): void {
  const size = models
    .flatMap((files) => [...files])
    .reduce((sum, [name, source]) => sum + (name.endsWith(".safetensors") ? source.size : 0), 0);
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
  const bytes = await readFile(path).catch((cause) => {
    throw systemFault(path, "a readable file", cause);
  });
  if (flags.tokens !== undefined) return idsIn(path, bytes);
  if (tokenizer !== null) return tokenizer.encode(bytes.toString("utf8"), { special: false });
  throw new BlockscaleError("option", {
    where: "evaluate: --text",
    expected: "a tokenizer.json among the files of the model",
    got: "none",
    fix: "Fetch it, or give the ids of tokens: --tokens FILE.",
  });
}

async function idsIn(path: string, bytes: Buffer): Promise<Int32Array> {
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

/** Hidden states in a file of a folder: a line of JSON that says what they belong to, then float32. */
class FileStates implements StateStore {
  readonly #path: string;
  readonly #key: string;

  constructor(path: string, key: string) {
    this.#path = path;
    this.#key = key;
  }

  async read(): Promise<{ layers: number; states: Float32Array } | null> {
    const bytes = await readFile(this.#path).catch(() => null);
    const end = bytes?.indexOf("\n") ?? -1;
    if (bytes === null || end < 0) return null;
    try {
      const { key, layers } = JSON.parse(bytes.subarray(0, end).toString("utf8"));
      if (key !== this.#key) return null;
      const start = bytes.byteOffset + end + 1;
      return { layers, states: new Float32Array(bytes.buffer.slice(start, bytes.byteOffset + bytes.length)) };
    } catch {
      // Not what this program wrote: the run begins anew.
      return null;
    }
  }

  async write(layers: number, states: Float32Array): Promise<void> {
    const head = `${JSON.stringify({ key: this.#key, layers })}\n`;
    await new Blob([head, states as BlobPart]).stream().pipeTo(await createFile(this.#path));
  }

  remove(): Promise<void> {
    return rm(this.#path, { force: true });
  }
}

async function stateOf(
  flags: EvaluateFlags,
  name: string,
  files: ReadonlyMap<string, Source>,
  ids: Int32Array,
  precisions: readonly string[],
): Promise<FileStates> {
  await makeFolder(flags.state!);
  const hash = createHash("sha256").update(ids);
  hash.update(JSON.stringify([flags.context, ...precisions]));
  for (const [file, source] of files) {
    if (!/\.(safetensors|json)$/.test(file)) continue;
    hash.update(await fingerprintOf(file, source));
  }
  return new FileStates(join(flags.state!, `${name}.states`), hash.digest("hex"));
}

interface WorstToken {
  readonly index: number;
  readonly divergence: number;
  readonly p: number;
  readonly q: number;
  /** What stands before the token, and the token: texts, or ids without a tokenizer. */
  readonly before: string;
  readonly token: string;
}

/** Tokens of text in front of a token that is listed. */
const AROUND = 16;

function worstOf(
  { scores, context }: Evaluation,
  ids: Int32Array,
  tokenizer: Tokenizer | null,
  count: number,
): WorstToken[] {
  const said = (from: number, to: number): string =>
    tokenizer === null
      ? Array.from(ids.subarray(from, to)).join(" ")
      : tokenizer.decode(ids.subarray(from, to), { special: true });
  return worstTokens(scores, count).map(({ index, divergence, base, other }: ScoredToken) => {
    const start = Math.max(index - (index % context), index - AROUND);
    return {
      index,
      divergence,
      p: Math.exp(base),
      q: Math.exp(other),
      before: said(start, index),
      token: said(index, index + 1),
    };
  });
}

type Figures = Omit<Evaluation, "scores">;

/** Rows and names as llama-perplexity prints them. */
function linesOf(e: Figures, worst: readonly WorstToken[], isCompared: boolean): string[] {
  const row = (name: string, value: number, error?: number, unit = ""): string =>
    `${name.padEnd(26)}: ${value.toFixed(6).padStart(12)}${error === undefined ? "" : ` ± ${error.toFixed(6)}`}${unit}`;
  const percent = (name: string, value: number, error?: number): string =>
    row(name, 100 * value, error === undefined ? undefined : 100 * error, " %");
  const { errors } = e;
  if (!isCompared) return [row("Final estimate: PPL", e.perplexity, errors.perplexity)];
  return [
    "====== Perplexity statistics ======",
    row("Mean PPL(Q)", e.perplexity, errors.perplexity),
    row("Mean PPL(base)", e.perplexityBase, errors.perplexityBase),
    percent("Cor(ln(PPL(Q)), ln(base))", e.correlation),
    row("Mean ln(PPL(Q)/PPL(base))", e.lnPerplexityRatio, errors.lnPerplexityRatio),
    row("Mean PPL(Q)/PPL(base)", e.perplexityRatio, errors.perplexityRatio),
    "",
    "====== KL divergence statistics ======",
    row("Mean    KLD", e.kldMean, errors.kldMean),
    row("Maximum KLD", e.kldMax),
    row("99.9%   KLD", e.kld999),
    row("99.0%   KLD", e.kld99),
    row("95.0%   KLD", e.kld95),
    row("90.0%   KLD", e.kld90),
    row("Median  KLD", e.kldMedian),
    row("10.0%   KLD", e.kld10),
    row("Minimum KLD", e.kldMin),
    "",
    "====== Token probability statistics ======",
    percent("Mean    Δp", e.meanDeltaP, errors.meanDeltaP),
    percent("Maximum Δp", e.maxDeltaP),
    percent("99.0%   Δp", e.deltaP99),
    percent("95.0%   Δp", e.deltaP95),
    percent("Median  Δp", e.medianDeltaP),
    percent(" 5.0%   Δp", e.deltaP5),
    percent(" 1.0%   Δp", e.deltaP1),
    percent("Minimum Δp", e.minDeltaP),
    percent("RMS Δp", e.rmsDeltaP, errors.rmsDeltaP),
    percent("Same top p", e.sameTop, errors.sameTop),
    ...(worst.length === 0 ? [] : ["", "====== Where they differ most ======"]),
    ...worst.map(
      ({ divergence, p, q, before, token }) =>
        `KLD ${divergence.toFixed(4)}, p ${p.toFixed(4)} -> ${q.toFixed(4)}: ${figures.text(before)} [${figures.text(token)}]`,
    ),
  ];
}
