import { bytesOf, type Located } from "../model/locate.ts";
import { Head, headOf } from "./head.ts";
import { type StreamOptions, type StreamPlan, withRunner } from "./streamed.ts";
import { stripsOf } from "./strips.ts";

/** What running a model over its chunks takes, as a trial of one of its products tells beforehand. */
export interface Estimate {
  /** Bytes of weights that are read at most, and those a second of the trial. */
  readonly bytes: number;
  readonly bytesPerSecond: number;
  /** Multiplications of linear layers, without those of attention, and those a second of the trial. */
  readonly products: number;
  readonly productsPerSecond: number;
}

/** Rows of x in the trial, at most; and for how long it is repeated, in milliseconds. */
const ROWS = 256;
const PATIENCE = 100;

/**
 * Times one product before a model is run: rows of its largest matrix that takes hidden states are read, and multiplied
 * as the run will do it, by as many threads.
 * @throws BlockscaleError `io`, `memory`
 */
export async function estimate(plan: StreamPlan, options: StreamOptions): Promise<Estimate> {
  const { located, config, ids, context } = plan;
  const tokens = Math.floor(ids.length / context) * context;
  const rows = Math.min(ROWS, context);
  const matrix = trialOf(plan);
  return withRunner(plan, options, async (runner) => {
    const [strip] = stripsOf([matrix], runner.weights);
    const states = new Float32Array(rows * config.hidden).fill(1);
    const head = new Head({ plan, states, options }, runner, matrix);
    await head.loadNorm();
    const reading = await secondsOf(() => head.load(strip!));
    let fastest = Infinity;
    for (let spent = 0; spent < PATIENCE / 1000 || spent < 2 * fastest; ) {
      const seconds = await secondsOf(() => head.logits({ start: 0, end: rows }));
      fastest = Math.min(fastest, seconds);
      spent += seconds;
    }
    const height = strip!.end - strip!.start;
    return {
      bytes: located.reduce((sum, { weight }) => sum + bytesOf(weight), 0),
      bytesPerSecond: ((bytesOf(matrix.weight) / matrix.wanted.shape[0]!) * height) / reading,
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

/** The largest matrix of a layer that takes hidden states, or else the head, in the place of the head. */
function trialOf(plan: StreamPlan): Located {
  const { hidden } = plan.config;
  const head = headOf(plan);
  const sizeOf = ({ wanted }: Located): number => wanted.shape[0]!;
  const [largest = head] = plan.located
    .filter(({ wanted }) => /^\d/.test(wanted.key) && wanted.as === "matrix" && wanted.isMultiplied)
    .filter(({ wanted }) => wanted.shape[1] === hidden)
    .sort((a, b) => sizeOf(b) - sizeOf(a));
  return { weight: largest.weight, wanted: { ...largest.wanted, key: head.wanted.key } };
}

/** Multiplications by a tensor for all tokens. Experts meet some of them, the head half of them. */
function productsOf({ config }: StreamPlan, { wanted }: Located, tokens: number): number {
  const { key, as, shape } = wanted;
  const elements = shape.reduce((product, size) => product * size, 1);
  if (as === "vector") return 0;
  if (key === "head" || key === "embedding")
    return (key === "embedding") === config.isTied ? (elements * tokens) / 2 : 0;
  const block = config.layers[Number.parseInt(key, 10)]!.block;
  const isExpert = as === "stack" || /^\d+\.block\.\d+\./.test(key);
  const share = isExpert && block.kind === "experts" ? block.chosen / block.count : 1;
  return elements * tokens * share;
}
