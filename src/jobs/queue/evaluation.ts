import { availableParallelism } from "node:os";
import type { ScoredToken } from "../../evaluate/evaluate.ts";
import {
  checkEvaluation,
  completedSpec,
  type EvaluationSpec,
  type Inputs,
  packScores,
  refuseOtherEvaluation,
  scoreText,
  unpackScores,
} from "../evaluation.ts";
import { hasKeys } from "../spec.ts";
import { refusePlaces } from "./places.ts";
import {
  idOf,
  type JobHandler,
  type OpenedFiles,
  type QueueWorkerOptions,
  refuseJob,
  type Work,
  type WorkItem,
} from "./work.ts";

/** A job that scores some chunks of a text. */
export interface ScoreJob {
  readonly spec: EvaluationSpec;
  /** Tokens of whole chunks. */
  readonly ids: readonly number[];
}

/** Most tokens of a job. */
const MOST_TOKENS = 1 << 24;

/** @throws BlockscaleError `format`: no job of ours */
export function checkScoreJob(value: unknown): ScoreJob {
  const isJob =
    hasKeys(value, ["spec", "ids"]) && Array.isArray(value.ids) && value.ids.length <= MOST_TOKENS;
  if (!isJob) return refuseJob("an evaluation and tokens", value);
  const spec = checkEvaluation("a job of the queue", value.spec);
  const ids = value.ids as unknown[];
  const isId = (id: unknown): boolean =>
    Number.isInteger(id) && (id as number) >= 0 && (id as number) < 2 ** 31;
  if (ids.length === 0 || ids.length % spec.context !== 0 || !ids.every(isId))
    return refuseJob(`ids of tokens in chunks of ${spec.context}`, ids);
  return { spec, ids: ids as number[] };
}

/**
 * Jobs of some chunks each. Their scores are summed in the order of the text, so that the
 * digits do not depend on which worker computed what.
 * @param most chunks of a job: for each job the model is read once
 */
export function evaluationWork(
  spec: EvaluationSpec,
  ids: Int32Array,
  most: number,
): { readonly work: Work; scores(): ScoredToken[] } {
  const { context, fingerprint } = spec;
  const chunks = Math.floor(ids.length / context);
  const ranges = new Map<WorkItem, readonly [first: number, end: number]>();
  for (let first = 0; first < chunks; first += most) {
    const end = Math.min(chunks, first + most);
    const data: ScoreJob = { spec, ids: [...ids.subarray(first * context, end * context)] };
    const name = end - first === 1 ? `chunk ${end}` : `chunks ${first + 1} to ${end}`;
    const id = idOf(fingerprint, first, data.ids);
    ranges.set({ id, name, size: data.ids.length, data }, [first, end]);
  }
  const scores = new Map<WorkItem, readonly ScoredToken[]>();
  return {
    scores: () => [...ranges.keys()].flatMap((item) => scores.get(item)!),
    work: {
      kind: "evaluate",
      unit: "tokens",
      items: [...ranges.keys()],
      accept: async (item, result) => {
        const found = hasKeys(result, ["scores"])
          ? unpackScores(result.scores, context, ranges.get(item)!)
          : null;
        if (found !== null) scores.set(item, found);
        return found !== null;
      },
    },
  };
}

/** Runs the jobs of an evaluation: each scores some chunks. */
export class EvaluationHandler implements JobHandler<ScoreJob> {
  readonly #options: QueueWorkerOptions;
  #opened: { readonly key: string; readonly inputs: Inputs; readonly all: readonly OpenedFiles[] } | null =
    null;

  constructor(options: QueueWorkerOptions) {
    this.#options = options;
  }

  async work(
    { spec, ids }: ScoreJob,
    tell: (tokens: number, size: number) => void,
  ): Promise<{ scores: string }> {
    const { allowed, threads } = this.#options;
    const reads = spec.against === null ? [spec.model] : [spec.model, spec.against];
    await refusePlaces({ reads, writes: [] }, allowed);
    const inputs = await this.#open(spec);
    const models = reads.length;
    const scores = await scoreText(spec, inputs, Int32Array.from(ids), {
      threads: threads ?? availableParallelism(),
      // This thread has to tell Redis that it is alive.
      keepsThreadFree: true,
      signal: new AbortController().signal,
      forModel: async (name) => ({
        onProgress: ({ done, total }) =>
          tell((ids.length * ((name === "reference" ? 1 : 0) + done / total)) / models, ids.length),
      }),
    });
    return { scores: packScores(scores) };
  }

  async #open(spec: EvaluationSpec): Promise<Inputs> {
    const key = JSON.stringify(spec);
    if (this.#opened?.key === key) return this.#opened.inputs;
    await this.close();
    const all: OpenedFiles[] = [];
    try {
      for (const place of spec.against === null ? [spec.model] : [spec.model, spec.against])
        all.push(await this.#options.open(place));
      const inputs = { model: all[0]!.files, reference: all[1]?.files ?? null };
      refuseOtherEvaluation(
        spec.model,
        spec,
        completedSpec({ ...spec, version: this.#options.version }, inputs),
      );
      this.#opened = { key, inputs, all };
      return inputs;
    } catch (error) {
      for (const one of all) await one.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    const opened = this.#opened;
    this.#opened = null;
    for (const one of opened?.all ?? []) await one.close();
  }
}
