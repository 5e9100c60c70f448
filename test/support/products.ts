import type { Matrix } from "../../src/products/products.ts";
import type { BlockScaled } from "../../src/tensor/tensor.ts";
import { f32FromBits } from "../reference/cast.ts";
import { elements, multiply, type Product } from "../reference/gemm.ts";

/** Below this a scale times the smallest code, 2^-16, can be subnormal. */
const LOW_SCALE = 2 ** -110;

/** Of x and of w, and whether such a rounding can be below the normal range. */
type ExtraRoundings = readonly [ofX: number, ofW: number, underflow?: boolean];

/** Roundings that do not count towards gamma_K: one if scales are not powers of two. */
export function extraRoundings(x: Matrix | BlockScaled, w: BlockScaled): ExtraRoundings {
  const rounded = ["codes" in x ? x.scales : undefined, w.scales].map((scales) =>
    scales instanceof Float32Array ? scales : new Float32Array(),
  );
  const [ofX, ofW] = rounded.map(({ length }) => Math.min(1, length)) as [number, number];
  return [ofX, ofW, rounded.some((scales) => scales.some((scale) => !(Math.abs(scale) >= LOW_SCALE)))];
}

export function leftElements(x: Matrix | BlockScaled): ArrayLike<number> {
  return "codes" in x ? elements(x) : x.values;
}

const UNIT = 2 ** -24;
/** Half of the smallest float32: what one rounding below the normal range can cost. */
const UNDERFLOW = 2 ** -150;
const LARGEST = f32FromBits(0x7f7fffff);

/**
 * Checks every element of c [m, n] against the exact product: |c - sum a b| <= gamma_r sum |a||b|, gamma_r =
 * r u / (1 - r u), u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). A term
 * takes part in one product and in at most K - 1 additions that round, in whatever order the sum is taken,
 * and adding a zero does not round; a scale that is a power of two does not round, one that is not rounds
 * once: r = K + `extra`. Where float32 underflows, each rounding costs up to 2^-150 instead: for a product, a
 * sum, or an operand that meets its scale there. bfloat16 results carry one more rounding of 2^-8.
 */
export function expectWithinBound(
  c: Float32Array | Uint16Array,
  { sums, sizes, rowSizes }: Product,
  [m, n, k]: readonly [number, number, number],
  extra: ExtraRoundings = [0, 0],
): void {
  const r = k + extra[0] + extra[1];
  const gamma = (r * UNIT) / (1 - r * UNIT);
  const half = c instanceof Uint16Array ? 2 ** -8 : 0;
  if (c.length !== m * n) throw new Error(`${c.length} elements for [${m}, ${n}]`);
  for (let i = 0; i < m * n; i++) {
    const got = c instanceof Uint16Array ? f32FromBits((c[i] as number) << 16) : (c[i] as number);
    const want = sums[i] as number;
    const size = sizes[i] as number;
    const ofScales =
      extra[2] === false ? 0 : extra[1] * rowSizes[0][Math.floor(i / n)]! + extra[0] * rowSizes[1][i % n]!;
    const lost = UNDERFLOW * (2 * k + 2 + ofScales);
    // The reference rounds too, in float64.
    const rounding = (gamma + k * 2 ** -53) * size + lost;
    // The smallest bfloat16 is 2^-133.
    const bound = rounding + half * (Math.abs(want) + rounding) + (half > 0 ? 2 ** -134 : 0);
    if (Number.isNaN(want) ? Number.isNaN(got) : got === want || Math.abs(got - want) <= bound) continue;
    // Beyond float32 some sum on the way may be Inf, whatever comes after.
    if (size * (1 + gamma) * (1 + half) > LARGEST && !Number.isFinite(got)) continue;
    throw new Error(`element [${Math.floor(i / n)}, ${i % n}]: expected ${want} within ${bound}, got ${got}`);
  }
}

/** The product of two operands in float64. */
export function exact(x: Matrix | BlockScaled, w: BlockScaled): Product {
  const k = w.shape.at(-1) as number;
  return multiply(leftElements(x), elements(w), x.shape.at(-2) ?? 1, w.shape.at(-2) ?? 1, k);
}
