import type { Matrix } from "../../src/products/products.ts";
import type { BlockScaled, Format } from "../../src/tensor/tensor.ts";
import type { Product } from "../reference/gemm.ts";
import { once } from "../support/once.ts";
import { exact } from "../support/products.ts";
import { randomNormal, randomWords } from "../support/random.ts";

/** Numbers below n in a fixed order. */
function drawer(seed: number): (n: number) => number {
  const words = randomWords(seed, 4096);
  let i = 0;
  return (n) => (words[i++ % words.length] as number) % n;
}

type Draw = ReturnType<typeof drawer>;

const BLOCKS: readonly (readonly [number, number])[] = [
  [1, 32],
  [1, 128],
  [128, 128],
  [1, 16],
  [1, 32],
  [32, 1],
  [3, 5],
  [1, 7],
  [2, 48],
  [5, 1],
  [16, 16],
  [1, 33],
  [2 ** 31 - 1, 2 ** 31 - 1],
];

function pick<T>(draw: Draw, choices: readonly T[]): T {
  return choices[draw(choices.length)] as T;
}

/** A size that is mostly small, now and then beyond what the kernels take in one step. */
function size(draw: Draw, most: number): number {
  return draw(8) === 0 ? draw(most) : draw(Math.min(most, 40)) + 1;
}

/** What the scales of a case are like: around one, over a wide range, or at the ends of it. */
const SPREADS = ["near", "near", "wide", "low", "high", "any"] as const;

function scaleByte(draw: Draw, spread: (typeof SPREADS)[number]): number {
  switch (spread) {
    case "near":
      return 120 + draw(12);
    case "wide":
      return 67 + draw(120);
    case "low":
      return draw(12);
    case "high":
      return 243 + draw(12);
    case "any":
      return draw(256);
  }
}

function randomTensor(draw: Draw, rows: number, cols: number): BlockScaled {
  const format = pick<Format>(draw, ["e4m3", "e4m3", "e5m2"]);
  const block = pick(draw, BLOCKS);
  const spread = pick(draw, SPREADS);
  const hasSpecials = draw(10) === 0;
  const special = format === "e4m3" ? 0x7f : 0x7c;
  const words = randomWords(draw(2 ** 30), rows * cols);
  // Now and then whole blocks are zero, under scales like the others.
  const zeroFrom = draw(4) === 0 ? draw(cols) : cols;
  // So few subnormal codes in half of the cases that they go to a list.
  const isThin = draw(2) === 0;
  const codes = Uint8Array.from(words, (word, i) => {
    let code = i % cols < zeroFrom ? word & 0xff : word & 0x80;
    if (isThin && (code & 0x78) === 0 && word >>> 28 > 0) code |= 8;
    return (code & 0x7f) >= special && !(hasSpecials && word >>> 27 === 0) ? code & 0x83 : code;
  });
  const blocks = Math.ceil(rows / block[0]) * Math.ceil(cols / block[1]);
  const scales =
    draw(3) === 0
      ? Float32Array.from(
          { length: blocks },
          () =>
            (1 + draw(1000) / 1000) *
            2 ** (Math.min(scaleByte(draw, spread), 254) - 127) *
            (draw(9) ? 1 : -1),
        )
      : Uint8Array.from({ length: blocks }, () => scaleByte(draw, spread));
  return { format, shape: [rows, cols], block, codes, scales };
}

function randomLeft(draw: Draw, rows: number, cols: number): Matrix | BlockScaled {
  const kind = draw(6);
  if (kind < 2) return randomTensor(draw, rows, cols);
  const values = randomNormal(draw(2 ** 30), rows * cols);
  const words = randomWords(draw(2 ** 30), rows * cols);
  const spread = kind === 2 ? 60 : kind === 3 ? 252 : 1;
  for (let i = 0; i < values.length; i++) {
    values[i] = (values[i] as number) * 2 ** (((words[i] as number) % spread) - (spread >> 1));
    if ((words[i] as number) >>> 22 === 0) values[i] = pick(draw, [0, -0, 1e30, 1e-40, 300]);
    if (kind === 4 && (words[i] as number) >>> 28 === 0) values[i] = 2 ** (-149 + (words[i]! & 31));
    if (kind === 5 && (words[i] as number) >>> 21 === 1) values[i] = pick(draw, [Infinity, -Infinity, NaN]);
  }
  return { values, shape: [rows, cols] };
}

/** A product of random operands, with the exact one. */
export interface Case {
  readonly name: string;
  readonly x: Matrix | BlockScaled;
  readonly w: BlockScaled;
  readonly sizes: readonly [m: number, n: number, k: number];
  readonly product: () => Product;
}

/** Operands of any size, format, block and spread; the same for the same seed. */
export function makeCase(seed: number): Case {
  const draw = drawer(seed);
  const m = draw(3) ? 1 + draw(9) : size(draw, 220);
  const n = size(draw, 140);
  const k = draw(5) ? size(draw, 300) : size(draw, 1300);
  const x = randomLeft(draw, m, k);
  const w = randomTensor(draw, n, k);
  const left = "codes" in x ? `${x.format} ${x.block.join("x")}` : "f32";
  const name = `seed ${seed}: ${left} [${m}, ${k}] . ${w.format} ${w.block.join("x")} [${n}, ${k}]`;
  return { name, x, w, sizes: [m, n, k], product: once(() => exact(x, w)) };
}
