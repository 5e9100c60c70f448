import type { Engine } from "../../src/engine/engine.ts";
import type { BlockScaled } from "../../src/tensor/tensor.ts";
import { integerProduct, type RoundedRow, roundedRow } from "../reference/integers.ts";
import type { Package } from "./conformance.ts";
import { floatsOf, plainBits } from "./inputs.ts";

/** Half of a unit in float32's last place. */
const UNIT = 2 ** -24;

/**
 * The largest error of c = x w^T, as a share of what rounding allows: gamma_K * sum |x||w|, in whatever order
 * the sum is taken (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). At most 1 is right.
 */
function worstShare(c: Float32Array, x: Float32Array, w: Float32Array, [m, n, k]: readonly number[]): number {
  const gamma = (k! * UNIT) / (1 - k! * UNIT);
  let worst = 0;
  for (let i = 0; i < m!; i++) {
    for (let j = 0; j < n!; j++) {
      let sum = 0;
      let size = 0;
      for (let l = 0; l < k!; l++) {
        const term = x[i * k! + l]! * w[j * k! + l]!;
        sum += term;
        size += Math.abs(term);
      }
      const share = Math.abs(c[i * n! + j]! - sum) / (gamma * size);
      worst = Math.max(worst, share); // NaN stays
    }
  }
  return worst;
}

/** Sizes around the tiles, and one that is none of them; K is ragged against every block. */
const SIZES = [
  [1, 64, 256],
  [5, 33, 200],
  [32, 48, 321],
] as const;

const SCHEMES = [
  ["deepseekActivation", "deepseekWeight"],
  ["mxfp8", "mxfp8"],
  ["mxfp8E5m2", "mxfp8"],
] as const;

/** Rows of a matrix as integers from -most to most, in blocks of `width` columns. */
function integersOf(values: Float32Array, k: number, most: number, width: number): RoundedRow[] {
  return Array.from({ length: values.length / k }, (_, row) =>
    roundedRow(values.subarray(row * k, (row + 1) * k), most, width),
  );
}

/** Rows of E4M3 codes as integers in sixteenths of their scale, which is said for each `width` columns. */
function planesOf(fp8: Engine, { codes, scales, shape, block }: BlockScaled, width: number): RoundedRow[] {
  const [n, k] = shape as [number, number];
  const values = fp8.decode(codes, "e4m3");
  return Array.from({ length: n }, (_, row) => ({
    integers: Array.from(values.subarray(row * k, (row + 1) * k), (v) => Math.floor(16 * v + 0.5)),
    scales: Array.from({ length: Math.ceil(k / width) }, (_, b) => {
      const at = Math.floor(row / block[0]) * Math.ceil(k / block[1]) + Math.floor((width * b) / block[1]);
      return 2 ** (scales[at]! - 127) / 16;
    }),
  }));
}

/** Whether the engine multiplies integers: V8 11 with relaxed SIMD says that it cannot. */
function hasIntegers(fp8: Engine): boolean {
  try {
    fp8.activations({ values: new Float32Array(1), shape: [1, 1] }).free();
    return true;
  } catch {
    return false;
  }
}

/** What is wrong with products of integers, which have the same bits everywhere: those of the definition. */
export function integerFailures(fp8: Engine, { schemes }: Package): string[] {
  if (!hasIntegers(fp8)) return [];
  const failures: string[] = [];
  for (const [m, n, k] of SIZES) {
    const x = { values: floatsOf(plainBits(m, m * k)), shape: [m, k] };
    for (const name of ["mxfp8", "deepseekWeight"]) {
      const w = fp8.quantize(floatsOf(plainBits(n, n * k)), [n, k], schemes[name]!);
      const expectSame = (what: string, found: Float32Array, right: RoundedRow[], width: number) => {
        const want = integerProduct(integersOf(x.values, k, 127, width), right, width);
        if (!found.every((y, i) => y === want[i]))
          failures.push(`gemm of integers, ${what} ${name} ${[m, n, k]}`);
      };
      // x has wide blocks where those of the weights are as wide, and all are whole.
      const width = w.block[1] === 128 && k % 128 === 0 ? 128 : 32;
      const planes = planesOf(fp8, w, width);
      expectSame("two planes", fp8.gemm(x, w, { activations: "int8" }), planes, width);
      const packed = fp8.pack(w, { weights: "int7" });
      expectSame("int7", fp8.gemm(x, packed), integersOf(fp8.dequantize(w), k, 63, 32), 32);
      packed.free();
    }
  }
  return failures;
}

/** What is wrong with products of every kind of operand, in words. */
export function productFailures(fp8: Engine, { schemes }: Package): string[] {
  const failures: string[] = [];
  for (const size of SIZES) {
    const [m, n, k] = size;
    for (const [left, right] of SCHEMES) {
      const values = floatsOf(plainBits(m, m * k));
      const x = fp8.quantize(values, [m, k], schemes[left]!);
      const w = fp8.quantize(floatsOf(plainBits(n, n * k)), [n, k], schemes[right]!);
      const [xs, ws] = [fp8.dequantize(x), fp8.dequantize(w)];
      const expectWithin = (what: string, c: Float32Array | Uint16Array, of: Float32Array) => {
        const share = worstShare(c as Float32Array, of, ws, size);
        if (!(share <= 1)) failures.push(`gemm ${what} ${left}, ${right} ${size}: ${share} of the bound`);
      };
      expectWithin("of codes", fp8.gemm(x, w), xs);
      expectWithin("of float32", fp8.gemm({ values, shape: [m, k] }, w), values);
      expectWithin(
        "with packed weights",
        packed(fp8, w, (p) => fp8.gemm(x, p)),
        xs,
      );
    }
  }
  return failures;
}

function packed<T>(fp8: Engine, w: BlockScaled, use: (weights: ReturnType<Engine["pack"]>) => T): T {
  const weights = fp8.pack(w);
  try {
    return use(weights);
  } finally {
    weights.free();
  }
}
