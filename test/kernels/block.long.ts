import { describe, expect, test } from "vitest";
import { type Scheme, schemes } from "../../src/tensor/schemes.ts";
import type { BlockScaled, Format, Values, ValueType } from "../../src/tensor/tensor.ts";
import { reference } from "../reference/engine.ts";
import {
  type DequantizeCase,
  describeDequantize,
  expectSameTensor,
  VALUE_TYPES,
} from "../support/agreement.ts";
import { expectSameValues, floats } from "../support/bits.ts";
import { ENGINES } from "../support/engines.ts";
import { once } from "../support/once.ts";
import { type Block, product, randomTensor, values } from "../support/tensors.ts";

const FORMATS: readonly Format[] = ["e4m3", "e5m2"];

/** The blocks with kernels of their own. */
const FAST: readonly Block[] = [
  [1, 32],
  [1, 128],
  [128, 128],
];

const ODD: readonly Block[] = [
  [3, 5],
  [1, 7],
  [2, 48],
  [1, 1],
  [5, 1],
  [1, 16],
  [1, 33],
  [4, 32],
  [32, 32],
  [128, 1],
  [64, 128],
  [128, 64],
  [7, 200],
  [1, 2 ** 30],
  [1, 2 ** 30 + 1],
  [2 ** 31 - 1, 2 ** 31 - 1],
];

const ALL_CODES = Uint8Array.from({ length: 256 }, (_, code) => code);

describe("256 codes under 256 scale bytes", () => {
  const cases: DequantizeCase[] = [];
  for (const format of FORMATS) {
    // A row of all codes per byte.
    for (const block of [
      [1, 256],
      [1, 32],
      [1, 128],
      [1, 16],
      [1, 5],
    ] as const) {
      const perRow = Math.ceil(256 / block[1]);
      const tensor = once(
        (): BlockScaled => ({
          format,
          shape: [256, 256],
          block,
          codes: Uint8Array.from({ length: 65536 }, (_, i) => i & 0xff),
          scales: Uint8Array.from({ length: 256 * perRow }, (_, i) => Math.floor(i / perRow)),
        }),
      );
      cases.push({ name: `${format} ${block.join("x")}`, tensor, types: VALUE_TYPES });
    }
    // Two rows of a block that has 128, in a slice of its own.
    const slices = once(
      (): BlockScaled => ({
        format,
        shape: [256, 2, 128],
        block: [128, 128],
        codes: Uint8Array.from({ length: 65536 }, (_, i) => i & 0xff),
        scales: ALL_CODES,
      }),
    );
    cases.push({ name: `${format} 128x128`, tensor: slices, types: VALUE_TYPES });
    // 16 x 16 whole blocks; a row of a block holds half the codes, the next one the other half.
    const square = once(
      (): BlockScaled => ({
        format,
        shape: [2048, 2048],
        block: [128, 128],
        codes: Uint8Array.from({ length: 2 ** 22 }, (_, i) => (i % 128) + 128 * (Math.floor(i / 2048) % 2)),
        scales: ALL_CODES,
      }),
    );
    cases.push({ name: `${format} 128x128, whole`, tensor: square, types: ["f32"] });
  }
  describeDequantize(cases);
});

describe("256 codes under float32 multipliers", () => {
  // Every exponent, with mantissas that are short, long and all ones; both signs; 0, Inf and NaN.
  const multipliers = once(() => {
    const bits: number[] = [];
    for (let exponent = 0; exponent <= 255; exponent++) {
      for (const mantissa of [0, 1, 0x124925, 0x3fffff, 0x400000, 0x7fffff]) {
        bits.push(exponent * 2 ** 23 + mantissa, 0x80000000 + exponent * 2 ** 23 + mantissa);
      }
    }
    return floats(bits);
  });
  const cases = FORMATS.flatMap((format) =>
    FAST.slice(0, 2).map((block): DequantizeCase => {
      const perRow = 256 / block[1];
      const tensor = once(
        (): BlockScaled => ({
          format,
          shape: [multipliers().length, 256],
          block,
          codes: Uint8Array.from({ length: 256 * multipliers().length }, (_, i) => i & 0xff),
          scales: Float32Array.from(
            { length: perRow * multipliers().length },
            (_, i) => multipliers()[Math.floor(i / perRow)] as number,
          ),
        }),
      );
      return { name: `${format} ${block.join("x")}`, tensor, types: VALUE_TYPES };
    }),
  );
  const square = once(() => randomTensor("e4m3", "f32", [1024, 1024], [128, 128]));
  cases.push({ name: "e4m3 128x128", tensor: square, types: VALUE_TYPES });
  describeDequantize(cases);
});

/** Numbers around one, two and more of `unit`. */
function around(unit: number): number[] {
  return [...new Set([unit - 1, unit, unit + 1, 2 * unit, 2 * unit + 1, 3 * unit + 7])].filter((n) => n > 0);
}

/** Widths from nothing to two turns of any loop and a tail; heights around one block and two. */
function shapesFor(block: Block): (readonly number[])[] {
  const widths = [0, ...Array.from({ length: 35 }, (_, n) => n + 1), 47, 48, 49, 63, 64, 65, 67, 95, 96, 97];
  widths.push(...[127, 128, 129, 160, 255, 256, 257, 300]);
  const shapes: (readonly number[])[] = [[], [0], [0, 0], [5, 0], [0, 5], [2, 0, 3], [0, 2, 3]];
  for (const width of widths) shapes.push([width], [1, width], [3, width]);
  if (block[0] <= 128) {
    for (const height of around(block[0])) {
      for (const width of block[1] <= 200 ? around(block[1]) : [300]) shapes.push([height, width]);
    }
  }
  shapes.push(
    [2, 3, 5, 7],
    [3, block[0] < 200 ? block[0] + 1 : 9, 37],
    [1, 1, 1, 33],
    [4, 2, 64],
    [2, 129, 131],
  );
  return shapes;
}

/** What each shape of a block is quantised from, and to what; the same for every engine. */
interface ShapeCase {
  readonly shape: readonly number[];
  readonly values: Values;
  readonly scheme: Scheme;
  readonly quantized: () => BlockScaled;
  readonly tensor: BlockScaled;
  readonly dequantized: () => Float32Array | Uint16Array;
}

function shapeCases(block: Block, type: ValueType): ShapeCase[] {
  return shapesFor(block).map((shape, i) => {
    const format = FORMATS[(i % 3) & 1] as Format;
    const scale = i % 2 ? "f32" : "ue8m0";
    const scheme: Scheme = { ...schemes.mxfp8, format, block, scale };
    const input = values(type, product(shape), i);
    const tensor = randomTensor(format, scale, shape, block);
    return {
      shape,
      values: input,
      scheme,
      quantized: once(() => reference.quantize(input, shape, scheme)),
      tensor,
      dequantized: once(() => reference.dequantize(tensor, type)),
    };
  });
}

const SHAPE_CASES = [...FAST, ...ODD].flatMap((block) =>
  VALUE_TYPES.map((type) => [block.join("x"), type, once(() => shapeCases(block, type))] as const),
);

function withShape(shape: readonly number[], check: () => void): void {
  try {
    check();
  } catch (error) {
    throw new Error(`shape [${shape.join(", ")}]: ${(error as Error).message}`, { cause: error });
  }
}

describe.each(ENGINES)("%s, every shape", async (_, make) => {
  const fp8 = await make();

  test.each(SHAPE_CASES)("quantises in %s from %s", (_, __, cases) => {
    for (const { shape, scheme, values, quantized } of cases()) {
      withShape(shape, () => {
        const got = fp8.quantize(values, shape, scheme);
        expect(got).toMatchObject({ format: scheme.format, shape, block: scheme.block });
        expectSameTensor(got, quantized());
      });
    }
  });

  test.each(SHAPE_CASES)("dequantises in %s to %s", (_, type, cases) => {
    for (const { shape, tensor, dequantized } of cases()) {
      withShape(shape, () => expectSameValues(fp8.dequantize(tensor, type), dequantized(), type));
    }
  });
});
