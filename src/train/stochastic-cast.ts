import { compileForModels } from "../model/build.ts";
import { checkArray } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { FORMAT_ID } from "../tensor/formats.ts";
import { checkChoice, checkKnown } from "../tensor/options.ts";
import { Arena } from "../wasm/arena.ts";
import type { Variant } from "../wasm/builds.ts";
import { instantiate } from "../wasm/instantiate.ts";
import { RANDOM_STREAM } from "./calls.ts";
import type { TrainKernels } from "./kernels.ts";
import { TRAIN_FORMATS, type TrainFormat } from "./recipes.ts";

/**
 * The counters that name the random words of a cast, which are not random themselves: numbers of 32 bits, 0
 * if left out. `stream` tells casts of one seed and step apart.
 */
export interface RandomWords {
  readonly seed?: number;
  readonly stream?: number;
  readonly step?: number;
}

/** Rounds float32 values to codes, up or down at random. */
export type StochasticCast = (
  values: Float32Array,
  format: TrainFormat,
  words?: RandomWords,
) => Uint8Array<ArrayBuffer>;

/**
 * Makes a cast with stochastic rounding. A magnitude between two codes is rounded up with a probability equal
 * to its distance from the lower one over the distance of both, in steps of 2^-32, so that the mean of many
 * casts is the value itself; values of codes do not change. What is above the largest code becomes
 * that code; NaN stays NaN. Element i takes word i of Philox 4x32-10 under the seed, stream and step: the
 * bits are the same in every runtime, and a shorter array gives the first codes of a longer one. A code of
 * E2M1 takes a byte here, with the sign at bit 7.
 * @throws BlockscaleError `wasm`; the cast: `buffer`, `option`
 */
export function stochasticCast(variant?: Variant): StochasticCast {
  const { kernels, memory } = instantiate(compileForModels(variant).module);
  const train = kernels as TrainKernels;
  const arena = new Arena(memory, train.heapBase());
  return (values, format, words = {}) => {
    const source = checkArray("stochasticCast: values", values, "Float32Array");
    checkChoice("stochasticCast: format", format, TRAIN_FORMATS);
    checkKnown("stochasticCast", words, ["seed", "stream", "step"]);
    const { seed = 0, stream = 0, step = 0 } = words;
    for (const [name, word] of Object.entries({ seed, stream, step }))
      if (!Number.isInteger(word) || word < 0 || word >= 2 ** 32) throw notWord(name, word);
    const n = source.length;
    return arena.frame([4 * n, n, RANDOM_STREAM.bytes], (src, codes, countersAt) => {
      new Float32Array(arena.buffer, src, n).set(source);
      RANDOM_STREAM.write(arena.buffer, countersAt, { seed, stream, step, microBatch: 0 });
      train.roundStochastic(FORMAT_ID[format], src, src, n, 0, 0, countersAt);
      train.encode(FORMAT_ID[format], codes, src, n);
      return new Uint8Array(arena.buffer, codes, n).slice();
    });
  };
}

function notWord(name: string, got: unknown): BlockscaleError {
  return new BlockscaleError("option", {
    where: `stochasticCast: ${name}`,
    expected: "a whole number from 0 to 2^32 - 1",
    got: String(got),
    fix: "Leave it out for 0.",
  });
}
