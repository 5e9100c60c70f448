import { bf16, f16 } from "../../src/tensor/halves.ts";
import type { Scheme } from "../../src/tensor/schemes.ts";
import type { BlockScaled, Format, Values, ValueType } from "../../src/tensor/tensor.ts";
import { countBlocks } from "../reference/block.ts";
import { narrow } from "../reference/cast.ts";
import { once } from "./once.ts";
import { randomNormal, randomWords } from "./random.ts";

/** `[rows, cols]` of a block. */
export type Block = readonly [number, number];

/**
 * Normal values with the outlier columns that real weights have, in a
 * type; enough for any case that is not huge.
 */
const POOL_SIZE = 5 * 2 ** 19;
const pool: Readonly<Record<ValueType, () => Float32Array | Uint16Array>> = {
  f32: once(() => randomNormal(1, POOL_SIZE).map((x, i) => (i % 61 === 0 ? 40 * x : x))),
  bf16: once(() => narrow("bf16", pool.f32() as Float32Array)),
  f16: once(() => narrow("f16", pool.f32() as Float32Array)),
};

/** The first `n` values from `start` on, as a view into the pool. */
export function values(type: ValueType, n: number, start = 0): Values {
  const view = pool[type]().subarray(start, start + n);
  if (view instanceof Float32Array) return view;
  return type === "bf16" ? bf16(view) : f16(view);
}

/** The elements of a shape. */
export function product(shape: readonly number[]): number {
  return shape.reduce((n, size) => n * size, 1);
}

/** Random codes under random scales: specials and both ends of the range are as likely as the middle. */
export function randomTensor(
  format: Format,
  scale: Scheme["scale"],
  shape: readonly number[],
  block: Block,
): BlockScaled {
  const blocks = countBlocks(shape, block);
  const codes = new Uint8Array(randomWords(blocks, Math.ceil(product(shape) / 4)).buffer, 0, product(shape));
  const words = randomWords(blocks + 1, blocks);
  const scales = scale === "f32" ? new Float32Array(words.buffer) : Uint8Array.from(words);
  return { format, shape, block, codes, scales };
}
