import type { Located } from "../model/locate.ts";
import type { Range } from "../model/team.ts";
import { type ScoredToken, scoredAt } from "./evaluate.ts";
import { rangesToLoad, someRows } from "./row-ranges.ts";
import { joinPartialScores, type PartialScore, scoreOf, scorePartially } from "./scores.ts";
import { type Runner, type StreamOptions, type StreamPlan, withRunner } from "./streamed.ts";

/** A model and its hidden states [tokens, hidden] after the last layer. */
export interface ModelStates {
  readonly plan: StreamPlan;
  readonly states: Float32Array;
  readonly options: StreamOptions;
}

interface ScoreOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called after each range of rows of the head, for each group of positions. */
  readonly onProgress?: ((progress: { readonly done: number; readonly total: number }) => void) | undefined;
}

/** Most float32 values of hidden states or logits in memory at a time. */
const MOST_FLOATS = 2 ** 20;

/**
 * Scores of the predicted tokens, as `scoreChunks` gives them, in constant memory. For each range of
 * rows of the head, these rows are read once and multiplied with the hidden states of all positions, a
 * group at a time. The scores by all ranges are joined.
 * @param reference the original to compare with; `null`: the model is compared with itself
 * @throws BlockscaleError `option`: a score that is not finite; `io`, `memory`
 */
export async function scoreStreamed(
  model: ModelStates,
  reference: ModelStates | null,
  options: ScoreOptions = {},
): Promise<ScoredToken[]> {
  return withRunner(model.plan, model.options, async (runner) => {
    const other = new Head(model, runner);
    if (reference === null) return scoreByRanges(other, null, options);
    // The options of both may name the same memory. The model's head is in it: the reference takes its own.
    return withRunner(reference.plan, { ...reference.options, memory: undefined }, (base) =>
      scoreByRanges(other, new Head(reference, base), options),
    );
  });
}

/** The head of a model. One range of its rows is in memory. */
export class Head {
  readonly matrix: Located;
  readonly plan: StreamPlan;
  readonly runner: Runner;
  readonly #states: Float32Array;
  #rows = 0;

  /** @param matrix the head, or another matrix under the head's key */
  constructor({ plan, states }: ModelStates, runner: Runner, matrix: Located = headOf(plan)) {
    this.matrix = matrix;
    this.plan = plan;
    this.runner = runner;
    this.#states = states;
  }

  loadNorm(): Promise<void> {
    return this.runner.load(this.plan.located.filter(({ tensor }) => tensor.key === "norm"));
  }

  async load(range: Range): Promise<void> {
    await this.runner.members.run({ kind: "drop", prefix: this.matrix.tensor.key });
    await this.runner.load([someRows(this.matrix, range)]);
    this.#rows = range.end - range.start;
  }

  /** @returns for each token, the logits [rows in memory] of the token after it */
  async logits(tokens: Range): Promise<Float32Array[]> {
    const { hidden } = this.plan.config;
    const rows = this.#rows;
    const config = { ...this.plan.config, vocabulary: rows };
    const x = this.#states.slice(tokens.start * hidden, tokens.end * hidden);
    const logits = (await this.runner.members.run({ kind: "head", config, x }))!;
    return Array.from({ length: tokens.end - tokens.start }, (_, i) =>
      logits.subarray(i * rows, (i + 1) * rows),
    );
  }
}

/** The matrix that makes logits of hidden states. */
export function headOf({ config, located }: StreamPlan): Located {
  return located.find(({ tensor }) => tensor.key === (config.isTied ? "embedding" : "head"))!;
}

async function scoreByRanges(
  other: Head,
  base: Head | null,
  { signal, onProgress }: ScoreOptions,
): Promise<ScoredToken[]> {
  const heads = base === null ? [other] : [other, base];
  const { ids } = other.plan;
  const scores = new Map<number, PartialScore>();
  const ranges = rangesToLoad(
    heads.map(({ matrix }) => matrix),
    other.runner.weights,
  );
  const widest = Math.max(...heads.map(({ plan }) => plan.config.hidden), ranges[0]!.end);
  const groups = groupsOf(other.plan, Math.max(1, Math.floor(MOST_FLOATS / widest)));
  for (const head of heads) await head.loadNorm();
  for (const [r, range] of ranges.entries()) {
    for (const head of heads) await head.load(range);
    for (const [g, group] of groups.entries()) {
      signal?.throwIfAborted();
      const ofOther = await other.logits(group);
      const ofBase = base === null ? ofOther : await base.logits(group);
      for (const [i, logits] of ofOther.entries()) {
        // The prediction of a token is in the row before its own.
        const index = group.start + i + 1;
        const part = scorePartially(ofBase[i]!, logits, ids[index]!, range.start);
        const before = scores.get(index);
        scores.set(index, before === undefined ? part : joinPartialScores(before, part));
      }
      onProgress?.({ done: r * groups.length + g + 1, total: ranges.length * groups.length });
    }
  }
  return Array.from(scores, ([index, part]) => scoredAt(index, scoreOf(part)));
}

/** The tokens before those that are predicted: of each chunk half, in groups of a few. */
function groupsOf({ ids, context }: StreamPlan, most: number): Range[] {
  const groups: Range[] = [];
  for (let chunk = 0; chunk + context <= ids.length; chunk += context) {
    const end = chunk + context - 1;
    for (let start = chunk + context / 2 - 1; start < end; start += most)
      groups.push({ start, end: Math.min(end, start + most) });
  }
  return groups;
}
