import { describe } from "vitest";
import { bf16, f16 } from "../../src/tensor/halves.ts";
import { type Rounding, type Scheme, schemes } from "../../src/tensor/schemes.ts";
import type { Format } from "../../src/tensor/tensor.ts";
import { describeQuantize, type QuantizeCase } from "../support/agreement.ts";
import { floats } from "../support/bits.ts";
import { once } from "../support/once.ts";
import { randomFinite, randomWords } from "../support/random.ts";

const FORMATS: readonly Format[] = ["e4m3", "e5m2"];
const ROUNDINGS: readonly Rounding[] = ["rceil", "floor", "ceil", "even", "evenFp4"];
const SCALES: readonly Scheme["scale"][] = ["ue8m0", "f32"];

/** The blocks with kernels of their own, and one without. */
const BLOCKS: readonly (readonly [number, number])[] = [
  [1, 32],
  [1, 128],
  [128, 128],
  [2, 3],
];

/** A power of two; halfway; 1.75 (RCEIL, and EVEN for FP4); 1.875 (EVEN, E5M2); 1.9375 (EVEN, E4M3). */
const THRESHOLDS = [0, 0x400000, 0x600000, 0x700000, 0x780000];

/**
 * Finite magnitudes within `reach` of thresholds of an exponent,
 * subnormals and the largest float32 among them.
 */
function amaxes(exponents: Iterable<number>, thresholds: readonly number[], reach: number): Uint32Array {
  const found = new Set<number>();
  for (const exponent of exponents) {
    for (const threshold of thresholds) {
      for (let d = -reach; d <= reach; d++) {
        const bits = exponent * 2 ** 23 + threshold + d;
        if (bits > 0 && bits < 0x7f800000) found.add(bits);
      }
    }
  }
  return Uint32Array.from(found);
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/**
 * Where blocks are large, exponents around those at which a kernel may change its way: at both ends, at one, and where
 * the scales of E4M3 and E5M2 leave float32.
 */
const EXPONENTS_OF_LARGE_BLOCKS = [
  ...[0, 1, 2, 8, 9, 10, 15, 16, 17, 23, 24, 25, 32, 33, 126, 127, 135, 142],
  ...[220, 230, 238, 239, 240, 246, 247, 248, 252, 253, 254, 255],
];

/** The largest magnitudes of blocks, by their size: many where blocks are small. */
const AMAXES: Readonly<Record<string, () => Uint32Array>> = {
  "1,32": once(() => amaxes(range(0, 255), THRESHOLDS, 2)),
  "1,128": once(() => amaxes(range(0, 255), [0, 0x600000], 1)),
  "128,128": once(() => amaxes(EXPONENTS_OF_LARGE_BLOCKS, [0x600000], 1)),
  "2,3": once(() => amaxes(range(0, 255), THRESHOLDS, 2)),
};

/**
 * One block per amax, below one another: the amax at a place that moves from block to block, with alternating
 * sign, and around it smaller values of about two dozen binades, -0 and subnormals among them.
 */
function stack(magnitudes: Uint32Array, elements: number): Float32Array {
  const bits = randomWords(elements, magnitudes.length * elements);
  magnitudes.forEach((amax, block) => {
    const start = block * elements;
    for (let i = start; i < start + elements; i++) {
      const word = bits[i] as number;
      const below = (word & 0x7fffffff) % 0x0c000000;
      bits[i] = (word & 0x80000000) + Math.max(0, amax - below);
    }
    bits[start + ((block * 37) % elements)] = (block % 2) * 0x80000000 + amax;
  });
  return new Float32Array(bits.buffer);
}

describe("every mode around every power of two and every threshold", () => {
  const cases: QuantizeCase[] = [];
  for (const block of BLOCKS) {
    const magnitudes = AMAXES[block.join()] as () => Uint32Array;
    const elements = block[0] * block[1];
    const values = once(() => stack(magnitudes(), elements));
    const shape = [magnitudes().length * block[0], block[1]];
    for (const format of FORMATS) {
      for (const rounding of block[0] === 128 ? (["rceil", "even"] as const) : ROUNDINGS) {
        const scheme: Scheme = { ...schemes.mxfp8, format, block, rounding };
        cases.push({ name: `${format} ${rounding} ${block.join("x")}`, scheme, shape, values });
      }
      const multiplier: Scheme = { ...schemes.deepseekV3Weight, format, block };
      cases.push({ name: `${format} f32 multipliers ${block.join("x")}`, scheme: multiplier, shape, values });
    }
  }
  describeQuantize(cases);
});

describe("2^18 blocks of random magnitudes", () => {
  const values = once(() => randomFinite(18, 2 ** 20));
  const each = FORMATS.flatMap((format) => [
    ...ROUNDINGS.map((rounding) => ({ ...schemes.mxfp8, format, rounding })),
    { ...schemes.deepseekV3Weight, format },
  ]);
  describeQuantize(
    each.map((scheme) => ({
      name: `${scheme.format} ${scheme.scale === "f32" ? "f32 multipliers" : scheme.rounding}`,
      scheme: { ...scheme, block: [1, 4] },
      shape: [2 ** 18, 4],
      values,
    })),
  );
});

const EVERY_HALF = once(() => Uint16Array.from({ length: 65536 }, (_, bits) => bits));

/** Where the patterns of a type are Inf and NaN. */
const INFINITY = { bf16: 0x7f80, f16: 0x7c00 } as const;

/**
 * Every pattern of a type but Inf and NaN, which would make NaN of a large block; 0 and -0 in their place.
 */
function everyFinite(type: "bf16" | "f16"): Uint16Array {
  return EVERY_HALF().map((bits) => ((bits & 0x7fff) >= INFINITY[type] ? bits & 0x8000 : bits));
}

/** Patterns in another order: neighbours differ in exponent and sign. */
function shuffled(bits: Uint16Array): Uint16Array {
  return bits.map((_, i) => bits[(i * 40503) & 0xffff] as number);
}

describe("all 65,536 patterns", () => {
  const cases: QuantizeCase[] = [];
  for (const [type, tag] of [
    ["bf16", bf16],
    ["f16", f16],
  ] as const) {
    const orders = [
      ["in order", once(() => tag(EVERY_HALF()))],
      ["finite, in order", once(() => tag(everyFinite(type)))],
      ["finite, shuffled", once(() => tag(shuffled(everyFinite(type))))],
    ] as const;
    for (const [order, values] of orders) {
      for (const [name, scheme] of Object.entries(schemes)) {
        cases.push({ name: `${type} ${order}, ${name}`, scheme, shape: [512, 128], values });
      }
    }
    for (const format of FORMATS) {
      for (const rounding of ROUNDINGS) {
        const scheme: Scheme = { ...schemes.mxfp8, format, rounding, block: [1, 1] };
        const values = once(() => tag(EVERY_HALF()));
        cases.push({
          name: `${type} ${format} ${rounding}, each a block`,
          scheme,
          shape: [256, 256],
          values,
        });
      }
    }
  }
  describeQuantize(cases);
});

describe("zero blocks, -0, and the floor of amax", () => {
  const FLOORS = [0, 1e-4, 1e-10, 1e-12, 2 ** -126, 1e-40, 2 ** -149, 1e30];
  const ZERO_SCALES = [0x00, 0x01, 0x69, 0x7f, 0xfe];
  // Blocks of four: zeros, subnormals, and amaxes around every floor.
  const values = once(() => {
    const around = FLOORS.flatMap((floor) => {
      const bits = new Uint32Array(Float32Array.of(floor).buffer)[0] as number;
      return [bits - 1, bits, bits + 1].filter((b) => b >= 0);
    });
    const blocks = around.map((bits) => [0, bits, 0x80000000, bits > 0x02000000 ? bits - 0x02000000 : 0]);
    blocks.push([0, 0, 0, 0], [0x80000000, 0, 0x80000000, 0], [0, 0, 0, 1], [0x80000001, 0, 0, 0]);
    return floats(blocks.flat());
  });
  const cases: QuantizeCase[] = [];
  const add = (fields: Partial<Scheme>): void => {
    const scheme: Scheme = { ...schemes.mxfp8, block: [1, 4], ...fields };
    const { format, scale, rounding, amaxFloor, zeroScale } = scheme;
    const name = `${format} ${scale} ${rounding}, floor ${amaxFloor}, zero block ${zeroScale}`;
    cases.push({ name, scheme, shape: [values().length / 4, 4], values });
  };
  for (const amaxFloor of FLOORS) {
    for (const zeroScale of ZERO_SCALES) for (const scale of SCALES) add({ scale, amaxFloor, zeroScale });
    for (const rounding of ROUNDINGS) for (const format of FORMATS) add({ format, rounding, amaxFloor });
  }
  describeQuantize(cases);
});

describe("NaN and Inf at every place of a block", () => {
  const cases: QuantizeCase[] = [];
  for (const block of BLOCKS) {
    const elements = block[0] * block[1];
    // One poisoned block after each clean one; in large blocks the place moves by a number coprime to the width.
    const poisoned = Math.min(elements, 150);
    const values = once(() => {
      const all = randomFinite(7, 2 * poisoned * elements);
      const bits = new Uint32Array(all.buffer);
      for (let i = 0; i < poisoned; i++) {
        const at = elements === poisoned ? i : (i * 10007) % elements;
        bits[(2 * i + 1) * elements + at] = [0x7f800000, 0xff800000, 0x7f800001, 0xffc00000][i % 4] as number;
      }
      return all;
    });
    for (const scale of SCALES) {
      const scheme: Scheme = { ...schemes.mxfp8, block, scale };
      const shape = [2 * poisoned * block[0], block[1]];
      cases.push({ name: `${block.join("x")} ${scale}`, scheme, shape, values });
    }
  }
  describeQuantize(cases);
});
