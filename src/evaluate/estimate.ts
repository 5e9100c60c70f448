import { bytesOf, type Located } from "../model/locate.ts";
import { Head, headOf } from "./head.ts";
import { rangesToLoad } from "./row-ranges.ts";
import { type StreamOptions, type StreamPlan, withRunner } from "./streamed.ts";

/** The work of running a model over its chunks, and the speed of a trial of one of its products. */
export interface RunEstimate {
  /** Most bytes of weights that are read, and bytes a second in the trial. */
  readonly bytes: number;
  readonly bytesPerSecond: number;
  /** Multiplications in linear layers, attention not counted, and multiplications a second in the trial. */
  readonly products: number;
  readonly productsPerSecond: number;
}

/** Most rows of x in the trial, and the milliseconds for which it is repeated. */
const TRIAL_ROWS = 256;
const TRIAL_MILLISECONDS = 100;

/**
 * Times one product before a model is run. Some rows of the largest matrix that takes hidden states are read,
 * and multiplied in the same way and by as many threads as in the run.
 * @throws BlockscaleError `io`, `memory`
 */
export async function estimateRun(plan: StreamPlan, options: StreamOptions): Promise<RunEstimate> {
  const { located, config, ids, context } = plan;
  const tokens = Math.floor(ids.length / context) * context;
  const rows = Math.min(TRIAL_ROWS, context);
  const matrix = trialOf(plan);
  return withRunner(plan, options, async (runner) => {
    const [range] = rangesToLoad([matrix], runner.weights);
    const states = new Float32Array(rows * config.hidden).fill(1);
    const head = new Head({ plan, states, options }, runner, matrix);
    await head.loadNorm();
    const reading = await secondsOf(() => head.load(range!));
    let fastest = Infinity;
    for (let spent = 0; spent < TRIAL_MILLISECONDS / 1000 || spent < 2 * fastest; ) {
      const seconds = await secondsOf(() => head.logits({ start: 0, end: rows }));
      fastest = Math.min(fastest, seconds);
      spent += seconds;
    }
    const height = range!.end - range!.start;
    return {
      bytes: located.reduce((sum, { weight }) => sum + bytesOf(weight), 0),
      bytesPerSecond: ((bytesOf(matrix.weight) / matrix.tensor.shape[0]!) * height) / reading,
      products: located.reduce((sum, one) => sum + productsOf(plan, one, tokens), 0),
      productsPerSecond: (rows * config.hidden * height) / fastest,
    };
  });
}

async function secondsOf(action: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await action();
  return (performance.now() - start) / 1000;
}

/** The largest matrix of a layer that takes hidden states, or else the head; under the key of the head. */
function trialOf(plan: StreamPlan): Located {
  const { hidden } = plan.config;
  const head = headOf(plan);
  const sizeOf = ({ tensor }: Located): number => tensor.shape[0]!;
  const [largest = head] = plan.located
    .filter(({ tensor }) => /^\d/.test(tensor.key) && tensor.keptAs === "matrix" && tensor.isMultiplied)
    .filter(({ tensor }) => tensor.shape[1] === hidden)
    .sort((a, b) => sizeOf(b) - sizeOf(a));
  return { weight: largest.weight, tensor: { ...largest.tensor, key: head.tensor.key } };
}

/**
 * Multiplications by a tensor for all tokens. An expert takes a share of the tokens, the head half of them.
 */
function productsOf({ config }: StreamPlan, { tensor }: Located, tokens: number): number {
  const { key, keptAs: as, shape } = tensor;
  const elements = shape.reduce((product, size) => product * size, 1);
  if (as === "vector") return 0;
  if (key === "head" || key === "embedding")
    return (key === "embedding") === config.isTied ? (elements * tokens) / 2 : 0;
  const mlp = config.layers[Number.parseInt(key, 10)]!.mlp;
  const isExpert = as === "stack" || /^\d+\.mlp\.\d+\./.test(key);
  const share = isExpert && mlp.kind === "experts" ? mlp.chosen / mlp.count : 1;
  return elements * tokens * share;
}
