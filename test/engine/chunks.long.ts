import { describe } from "vitest";
import { type Scheme, schemes } from "../../src/tensor/schemes.ts";
import type { ValueType } from "../../src/tensor/tensor.ts";
import { reference } from "../reference/engine.ts";
import {
  type DequantizeCase,
  describeDequantize,
  describeQuantize,
  type QuantizeCase,
  VALUE_TYPES,
} from "../support/agreement.ts";
import { once } from "../support/once.ts";
import { randomNormal } from "../support/random.ts";
import { type Block, product, randomTensor, values } from "../support/tensors.ts";

/**
 * Tensors that do not pass through linear memory in one piece: frames hold 2^16 elements in rows, 2^20 to
 * 2^22 in tiles. And blocks that are larger than such a piece.
 */
const LARGE: readonly (readonly [block: Block, shape: readonly number[]])[] = [
  [
    [1, 32],
    [1, 200_000],
  ],
  [
    [1, 32],
    [1, 200_001],
  ],
  [
    [1, 32],
    [3, 70_001],
  ],
  [
    [1, 32],
    [65_537, 3],
  ],
  [
    [1, 128],
    [513, 512],
  ],
  [
    [1, 128],
    [7, 33_000],
  ],
  [
    [128, 128],
    [300, 1000],
  ],
  [
    [128, 128],
    [576, 896],
  ],
  [
    [128, 128],
    [3, 130, 1030],
  ],
  [
    [128, 128],
    [1, 70_000],
  ],
  [
    [3, 5],
    [301, 1003],
  ],
  [
    [1, 7],
    [1, 100_003],
  ],
  [
    [2, 48],
    [101, 4999],
  ],
  [
    [1, 1],
    [1, 66_000],
  ],
  [
    [1, 1],
    [130, 600],
  ],
  [
    [5, 1],
    [12, 40_000],
  ],
  [
    [128, 128],
    [65_537, 2],
  ],
  [
    [128, 128],
    [1100, 1000],
  ],
  [
    [3, 5],
    [1400, 1003],
  ],
  [
    [2, 48],
    [30, 70_001],
  ],
  [
    [300, 300],
    [620, 4000],
  ],
  [
    [1, 100_000],
    [2, 200_001],
  ],
  [
    [100_000, 1],
    [200_001, 2],
  ],
  [
    [2 ** 31 - 1, 2 ** 31 - 1],
    [2, 400, 401],
  ],
];

describe("larger than a frame", () => {
  const quantizeCases: QuantizeCase[] = [];
  const dequantizeCases: DequantizeCase[] = [];
  LARGE.forEach(([block, shape], i) => {
    for (const scale of ["ue8m0", "f32"] as const) {
      const type = VALUE_TYPES[(i + Number(scale === "f32")) % 3] as ValueType;
      const name = `[${shape.join(", ")}] in ${block.join("x")}, ${scale}`;
      const scheme: Scheme = { ...schemes.mxfp8, block, scale };
      quantizeCases.push({
        name: `${name}, ${type}`,
        scheme,
        shape,
        values: () => values(type, product(shape)),
      });
      const tensor = once(() => randomTensor("e4m3", scale, shape, block));
      dequantizeCases.push({ name, tensor, types: [type] });
    }
  });
  describeQuantize(quantizeCases);
  describeDequantize(dequantizeCases);
});

describe("130 rows of 70,000 columns in 128x128", () => {
  const shape = [130, 70_000];
  const scheme = schemes.deepseekWeight;
  const wide = once(() => randomNormal(3, product(shape)));
  const tensor = once(() => reference.quantize(wide(), shape, scheme));
  describeQuantize([{ name: "f32", scheme, shape, values: wide }]);
  describeDequantize([{ name: "the result", tensor, types: ["f32"] }]);
});
