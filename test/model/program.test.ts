import { expect, test } from "vitest";
import { Engine } from "../../src/engine/engine.ts";
import { compileForModels } from "../../src/model/build.ts";
import type { ModelActivations } from "../../src/model/precisions.ts";
import { Program } from "../../src/model/program.ts";
import { schemes } from "../../src/tensor/schemes.ts";
import type { BlockScaled } from "../../src/tensor/tensor.ts";
import { instantiate } from "../../src/wasm/instantiate.ts";
import { randomNormal } from "../support/random.ts";

const { module, variant } = compileForModels("baseline");
const engine = new Engine(instantiate(module), variant);
const [ROWS, N] = [3, 24];

/**
 * x . w^T as a model computes it, for weights that meet the same x.
 * @param isSubByte whether the weights were codes of less than a byte
 */
function productsOf(
  x: Float32Array,
  weights: readonly BlockScaled[],
  activations: ModelActivations = "int8",
  isSubByte = false,
): Float32Array[] {
  const program = new Program(instantiate(module), { member: 0, size: 1 }, null, { activations });
  const range = { start: 0, end: N };
  weights.forEach(({ shape, block, codes, scales }, i) => {
    const declared = { key: `${i}`, name: `${i}`, slices: 1, cols: shape[1]!, isMultiplied: true };
    const stored = { kind: "scaled", format: 0, isSubByte, scaleType: 0, block } as const;
    program.store.declare({ ...declared, range, totalRows: N, inFile: stored });
    program.store.fill({ key: `${i}`, slice: 0, first: 0, values: codes, scales: scales as Uint8Array });
    program.store.seal(`${i}`);
  });
  const at = program.floats("x", x.length);
  const products = weights.map((_, i) => ({
    dst: program.floats(`y ${i}`, ROWS * N),
    linear: program.linear(`${i}`, () => range),
  }));
  program.view(at, x.length).set(x);
  program.multiplyOwnAll(at, ROWS, products);
  return products.map(({ dst }) => program.view(dst, ROWS * N).slice());
}

test.each([
  ["blocks of 128", 256, [[128, 128]]],
  ["blocks of 32", 256, [[1, 32]]],
  ["a ragged last block", 160, [[128, 128]]],
  [
    "blocks of both widths, which meet the same x",
    128,
    [
      [1, 32],
      [128, 128],
      [1, 32],
    ],
  ],
] as const)("int8 activations give the bits of gemm: %s", (_, cols, blocks) => {
  const x = randomNormal(3, ROWS * cols);
  const weights = blocks.map((block, i) =>
    engine.quantize(randomNormal(i, N * cols), [N, cols], { ...schemes.deepseekWeight!, block }),
  );
  const left = { values: x, shape: [ROWS, cols] };
  const expected = weights.map((w) => engine.gemm(left, w, { activations: "int8" }));
  expect(productsOf(x, weights)).toEqual(expected);
});

test("activations in FP8 are for FP8 weights: those of four bits meet them as they are", () => {
  const x = randomNormal(3, ROWS * 256);
  const weights = [engine.quantize(randomNormal(0, N * 256), [N, 256], schemes.mxfp8)];
  const exact = productsOf(x, weights, "f32");
  expect(productsOf(x, weights, "fp8", true)).toEqual(exact);
  const rounded = engine.dequantize(engine.quantize(x, [ROWS, 256], schemes.deepseekActivation));
  expect(productsOf(x, weights, "fp8")).toEqual(productsOf(rounded, weights, "f32"));
  expect(rounded).not.toEqual(x);
});
