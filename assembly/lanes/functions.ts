/** Functions of four float32 at a time, and the masks and maxima that attention needs. */
export abstract class Functions {
  /**
   * e^x with a relative error below 2^-22; 0 below ln(2^-126), where the result would no longer be normal;
   * NaN stays NaN.
   *
   * x = n ln 2 + r with |r| <= ln(2) / 2, so e^x = 2^n e^r. n ln 2 is taken away in two parts: the first has
   * nine trailing zeros, so that its product with any n below 2^9 is exact. e^r is its Taylor series to r^7,
   * whose rest is below (ln(2) / 2)^8 / 8!, that is 2^-27. 2^n is added to the exponent field.
   *
   * Adding 3 * 2^22 rounds to the integers, which are in the lower bits then: WebAssembly's own conversion to
   * integers is several instructions on x86, as are its `min` and `max`.
   */
  @inline static exp(x: v128): v128 {
    const lowest = f32x4.splat(-87.33654);
    const isNormal = f32x4.ge(x, lowest);
    const inRange = f32x4.pmin(f32x4.pmax(x, lowest), f32x4.splat(88.72283));
    const large = f32x4.splat(<f32>(3 << 22));
    const raised = f32x4.add(f32x4.mul(inRange, f32x4.splat(Mathf.LOG2E)), large);
    const n = f32x4.sub(raised, large);
    let r = f32x4.sub(inRange, f32x4.mul(n, f32x4.splat(0.693359375)));
    r = f32x4.sub(r, f32x4.mul(n, f32x4.splat(-2.1219444e-4)));
    let y = f32x4.add(f32x4.mul(r, f32x4.splat(1.0 / 5040)), f32x4.splat(1.0 / 720));
    y = f32x4.add(f32x4.mul(r, y), f32x4.splat(1.0 / 120));
    y = f32x4.add(f32x4.mul(r, y), f32x4.splat(1.0 / 24));
    y = f32x4.add(f32x4.mul(r, y), f32x4.splat(1.0 / 6));
    y = f32x4.add(f32x4.mul(r, y), f32x4.splat(0.5));
    y = f32x4.add(f32x4.mul(f32x4.mul(r, r), y), f32x4.add(r, f32x4.splat(1)));
    // 2^128 is no float32: the largest n is taken in two steps.
    const power = i32x4.sub(raised, large);
    const half = i32x4.shr_s(power, 1);
    const rest = i32x4.sub(power, half);
    y = f32x4.mul(y, i32x4.shl(i32x4.add(half, i32x4.splat(127)), 23));
    y = f32x4.mul(y, i32x4.shl(i32x4.add(rest, i32x4.splat(127)), 23));
    return v128.and(y, v128.or(isNormal, f32x4.ne(x, x)));
  }

  /** 1 / (1 + e^-x) */
  @inline static sigmoid(x: v128): v128 {
    const one = f32x4.splat(1);
    return f32x4.div(one, f32x4.add(one, Functions.exp(f32x4.neg(x))));
  }

  /** tanh(x) = 1 - 2 / (e^2x + 1) */
  @inline static tanh(x: v128): v128 {
    const one = f32x4.splat(1);
    return f32x4.sub(
      one,
      f32x4.div(f32x4.splat(2), f32x4.add(one, Functions.exp(f32x4.mul(x, f32x4.splat(2))))),
    );
  }

  /**
   * The error function, by the rational approximation x P(x^2) / Q(x^2) of Eigen's `erf` for float32; beyond
   * 4 it is 1. Absolute error below 2^-22.
   */
  @inline static erf(x: v128): v128 {
    const t = f32x4.pmin(f32x4.pmax(x, f32x4.splat(-4)), f32x4.splat(4));
    const s = f32x4.mul(t, t);
    let p = f32x4.add(f32x4.mul(s, f32x4.splat(-2.72614225801306e-10)), f32x4.splat(2.77068142495902e-8));
    p = f32x4.add(f32x4.mul(s, p), f32x4.splat(-2.10102402082508e-6));
    p = f32x4.add(f32x4.mul(s, p), f32x4.splat(-5.69250639462346e-5));
    p = f32x4.add(f32x4.mul(s, p), f32x4.splat(-7.34990630326855e-4));
    p = f32x4.add(f32x4.mul(s, p), f32x4.splat(-2.954599810054e-3));
    p = f32x4.add(f32x4.mul(s, p), f32x4.splat(-1.60960333262415e-2));
    let q = f32x4.add(f32x4.mul(s, f32x4.splat(-1.45660718464996e-5)), f32x4.splat(-2.13374055278905e-4));
    q = f32x4.add(f32x4.mul(s, q), f32x4.splat(-1.68282697438203e-3));
    q = f32x4.add(f32x4.mul(s, q), f32x4.splat(-7.37332916720468e-3));
    q = f32x4.add(f32x4.mul(s, q), f32x4.splat(-1.42647390514189e-2));
    return f32x4.div(f32x4.mul(t, p), q);
  }

  /** x, but -Infinity in lanes whose row does not see key j: those with j < begin or j >= end. */
  @inline static maskScores(x: v128, j: i32, begin: v128, end: v128): v128 {
    const key = i32x4.splat(j);
    const isSeen = v128.and(i32x4.ge_s(key, begin), i32x4.lt_s(key, end));
    return v128.bitselect(x, f32x4.splat(-Infinity), isSeen);
  }

  @inline static sqrt(x: v128): v128 {
    return f32x4.sqrt(x);
  }

  @inline static max(a: v128, b: v128): v128 {
    return f32x4.max(a, b);
  }

  @inline static clamp(x: v128, lowest: f32, highest: f32): v128 {
    return f32x4.pmin(f32x4.pmax(x, f32x4.splat(lowest)), f32x4.splat(highest));
  }

  /** x, with 0 in lanes that are -Infinity. */
  @inline static finite(x: v128): v128 {
    return v128.andnot(x, f32x4.eq(x, f32x4.splat(-Infinity)));
  }

  /** The largest of four lanes; NaN, if one is. */
  @inline static largest(x: v128): f32 {
    const pairs = f32x4.max(x, i32x4.shuffle(x, x, 2, 3, 0, 1));
    return max(f32x4.extract_lane(pairs, 0), f32x4.extract_lane(pairs, 1));
  }

  /** Lane i is the sum of the i-th argument. */
  @inline static sums(a: v128, b: v128, c: v128, d: v128): v128 {
    const ab = f32x4.add(i32x4.shuffle(a, b, 0, 4, 1, 5), i32x4.shuffle(a, b, 2, 6, 3, 7));
    const cd = f32x4.add(i32x4.shuffle(c, d, 0, 4, 1, 5), i32x4.shuffle(c, d, 2, 6, 3, 7));
    return f32x4.add(i64x2.shuffle(ab, cd, 0, 2), i64x2.shuffle(ab, cd, 1, 3));
  }

  /** Lane `i` of a vector of float32. */
  @inline static lane(x: v128, i: i32): f32 {
    if (i == 0) return f32x4.extract_lane(x, 0);
    if (i == 1) return f32x4.extract_lane(x, 1);
    return i == 2 ? f32x4.extract_lane(x, 2) : f32x4.extract_lane(x, 3);
  }

  /** x0 x2 y0 y2 and x1 x3 y1 y3: neighbours parted. */
  @inline static evens(x: v128, y: v128): v128 {
    return i32x4.shuffle(x, y, 0, 2, 4, 6);
  }

  @inline static odds(x: v128, y: v128): v128 {
    return i32x4.shuffle(x, y, 1, 3, 5, 7);
  }

  /** Lanes 1, 0, 3, 2: each with its neighbour's place. */
  @inline static swapped(x: v128): v128 {
    return i32x4.shuffle(x, x, 1, 0, 3, 2);
  }
}
