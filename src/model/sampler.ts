import { BlockscaleError } from "../tensor/errors.ts";

/** How the next token is chosen. */
export interface Sampling {
  /** 0 takes the likeliest token; 1, the default, samples what the model says; more is wilder. */
  readonly temperature?: number | undefined;
  /** Among the k likeliest; 0, the default, among all. */
  readonly topK?: number | undefined;
  /** Among the fewest tokens whose probabilities sum to this; 1 if left out. */
  readonly topP?: number | undefined;
  /** Among tokens at least this part as likely as the likeliest; 0 if left out. */
  readonly minP?: number | undefined;
  /** Seed of the random numbers: the same seed gives the same answer. Left out, each answer differs. */
  readonly seed?: number | undefined;
}

/**
 * Checks the options of sampling.
 * @throws BlockscaleError `option`
 */
export function checkSampling(where: string, options: Sampling): Required<Sampling> {
  const numberOption = (name: keyof Sampling, least: number, most: number, standard: number): number => {
    const value = options[name] ?? standard;
    if (typeof value === "number" && value >= least && value <= most) return value;
    throw new BlockscaleError("option", {
      where: `${where}: ${name}`,
      expected: `a number from ${least} to ${most}`,
      got: String(value),
      fix: `Leave it out to get ${standard}.`,
    });
  };
  return {
    temperature: numberOption("temperature", 0, 100, 1),
    topK: Math.floor(numberOption("topK", 0, 2 ** 31, 0)),
    topP: numberOption("topP", 0, 1, 1),
    minP: numberOption("minP", 0, 1, 0),
    seed: Math.floor(numberOption("seed", 0, 2 ** 53, Math.floor(Math.random() * 2 ** 32))),
  };
}

/** Chooses tokens from logits: the same ones for the same logits and seed, in every runtime. */
export class Sampler {
  readonly #options: Required<Sampling>;
  #state: number;

  constructor(options: Required<Sampling>) {
    this.#options = options;
    this.#state = options.seed >>> 0;
  }

  /** @throws BlockscaleError `dialect`: NaN among the logits, or nothing but -Infinity */
  choose(logits: Float32Array): number {
    const best = largest(logits);
    const { temperature } = this.#options;
    if (temperature === 0) return best;
    const candidates = this.#candidates(logits, best);
    const weights = candidates.map((id) => Math.exp((logits[id]! - logits[best]!) / temperature));
    const sum = weights.reduce((a, b) => a + b, 0);
    let left = this.#next() * sum;
    for (let i = 0; i < candidates.length; i++) {
      left -= weights[i]!;
      if (left < 0) return candidates[i]!;
    }
    return candidates.at(-1)!;
  }

  /** The tokens that are left by topK, minP and topP in turn, the likeliest first. */
  #candidates(logits: Float32Array, best: number): number[] {
    const { temperature, topK, topP, minP } = this.#options;
    // Tokens with less than 2^-40 of the likeliest one's probability are never met.
    const least = Math.max(minP, 2 ** -40);
    const lowest = logits[best]! + temperature * Math.log(least);
    let ids: number[] = [];
    for (let id = 0; id < logits.length; id++) if (logits[id]! >= lowest) ids.push(id);
    ids.sort((a, b) => logits[b]! - logits[a]! || a - b);
    if (topK > 0) ids = ids.slice(0, topK);
    if (topP >= 1) return ids;
    const weights = ids.map((id) => Math.exp((logits[id]! - logits[best]!) / temperature));
    const sum = weights.reduce((a, b) => a + b, 0);
    let reached = 0;
    const end = weights.findIndex((weight) => {
      reached += weight;
      return reached >= topP * sum;
    });
    return ids.slice(0, end < 0 ? ids.length : end + 1);
  }

  /** The next number from 0 to 1 of mulberry32, a generator of 32 bits of state. */
  #next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }
}

function largest(logits: Float32Array): number {
  let best = -1;
  let most = -Infinity;
  let isNumber = true;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id]!;
    if (logit > most) {
      most = logit;
      best = id;
    }
    if (Number.isNaN(logit)) isNumber = false;
  }
  if (isNumber && best >= 0 && most < Infinity) return best;
  throw new BlockscaleError("dialect", {
    where: "model: logits",
    expected: "numbers",
    got: isNumber ? (best < 0 ? "nothing but -Infinity" : "Infinity") : "NaN",
    fix: "The weights are damaged, or their scales mean something else: run `blockscale inspect`.",
  });
}

/** The natural logarithm of a token's probability at temperature 1. */
export function logProbabilityOf(logits: Float32Array, id: number): number {
  const most = logits[largest(logits)]!;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - most);
  return logits[id]! - most - Math.log(sum);
}
