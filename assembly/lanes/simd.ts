/**
 * The few v128 operations that differ between builds, and the one trick every hot loop needs.
 * This is the only file that asks which build it is in.
 */
export abstract class Simd {
  /**
   * A zero that no optimiser can prove to be 0: linear memory has at most 2^16 pages.
   *
   * Binaryen copies a constant vector to every place it is used, and V8 from version 13 on builds such a
   * constant anew each time, inside the loop too (1.3 to 1.9 times slower, measured). A splat of `bits |
   * opaqueZero()`, kept in a local before the loop, stays in a register. What takes it as an argument calls
   * it `opaque`.
   */
  @inline static opaqueZero(): i32 {
    return memory.size() >>> 20;
  }

  /**
   * False for a `mark` below 16, where `x` is an address: leaving a loop by it ends V8's basic block. V8
   * puts pure operations off as long as their block lasts, behind all of its loads, and a long loop then
   * keeps its operands on the stack (half the speed, measured). It works for what is used after the loop,
   * such as its sums: the way out needs their values at that place, so that V8 cannot put them off. Every
   * use in a loop has a mark of its own, since V8 12 leaves out a second test of the same condition. An
   * address that the loop loads from is in a register, so that test and jump are one operation.
   */
  @inline static never(x: usize, mark: usize): bool {
    return x == mark;
  }

  /** table[index] per byte; an index with its top bit set gives 0. Other indices must be below 16. */
  @inline static lookup(table: v128, index: v128): v128 {
    // The relaxed form leaves only the indices 16..127 to the engine, and saves an instruction on x86.
    if (ASC_FEATURE_RELAXED_SIMD) return i8x16.relaxed_swizzle(table, index);
    return i8x16.swizzle(table, index);
  }

  /** Whether a multiply-add is one operation in this build. */
  @inline static isFused(): bool {
    return ASC_FEATURE_RELAXED_SIMD;
  }

  /** a * b + c; fused or not is up to the engine in the relaxed build, never fused in the others. */
  @inline static madd(a: v128, b: v128, c: v128): v128 {
    if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
    return f32x4.add(f32x4.mul(a, b), c);
  }

  /**
   * sum[i] + a[4i] b[4i] + .. + a[4i + 3] b[4i + 3], a from -127 to 127, b from 0 to 127: one instruction on
   * ARM with dot products and on x86 with AVX-VNNI. Elsewhere on x86 pairs are summed in 16 bits first, and
   * do not overflow: 2 * 127 * 127 < 2^15. So every engine gives the same.
   */
  @inline static dot4(a: v128, b: v128, sum: v128): v128 {
    if (ASC_FEATURE_RELAXED_SIMD) return i32x4.relaxed_dot_i8x16_i7x16_add_s(a, b, sum);
    const low = i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(a), i16x8.extend_low_i8x16_s(b));
    const high = i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(a), i16x8.extend_high_i8x16_s(b));
    const pairs = i32x4.add(i32x4.shuffle(low, high, 0, 2, 4, 6), i32x4.shuffle(low, high, 1, 3, 5, 7));
    return i32x4.add(sum, pairs);
  }

  /**
   * What `dot4` does, in three steps: pairs are summed in 16 bits and, with `ones` in lanes of 16, in 32. V8
   * makes the ones anew for each `dot4` where that is no instruction: five steps.
   */
  @inline static dot4OfPairs(a: v128, b: v128, sum: v128, ones: v128): v128 {
    if (!ASC_FEATURE_RELAXED_SIMD) return Simd.dot4(a, b, sum);
    return i32x4.add(i32x4.dot_i16x8_s(i16x8.relaxed_dot_i8x16_i7x16_s(a, b), ones), sum);
  }

  /**
   * Whether `dot4` sums pairs on the way, as on x86 without AVX-VNNI. Then pairs that are too large for 16
   * bits, which may be wrong with b > 127, are cut to 32767; the instructions for four take them as they are.
   */
  @inline static sumsPairs(opaque: i32): bool {
    if (!ASC_FEATURE_RELAXED_SIMD) return false;
    const sum = Simd.dot4(i32x4.splat(0x7f7f7f7f | opaque), i32x4.splat(-1 | opaque), i32x4.splat(opaque));
    return i32x4.extract_lane(sum, 0) == 2 * 32767;
  }

  /**
   * a * b, but for the sign of a zero. On some x86 (Zen 4, measured: four times slower) a multiplication has
   * to be repeated for a subnormal operand, and a fused multiply-add does not.
   */
  @inline static product(a: v128, b: v128, zeros: v128): v128 {
    if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, zeros);
    return f32x4.mul(a, b);
  }

  /**
   * (a * b + 2^14) >> 15 of 16-bit lanes, not both -2^15, which engines may saturate or not: because of that
   * case the exact form is five instructions on x86 instead of one.
   */
  @inline static roundedHalf(a: v128, b: v128): v128 {
    if (ASC_FEATURE_RELAXED_SIMD) return i16x8.relaxed_q15mulr_s(a, b);
    return i16x8.q15mulr_sat_s(a, b);
  }

  /** a0 b0 a1 b1 ... of the lower eight bytes. */
  @inline static zipBytesLow(a: v128, b: v128): v128 {
    return i8x16.shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  }

  /** a8 b8 a9 b9 ... of the upper eight bytes. */
  @inline static zipBytesHigh(a: v128, b: v128): v128 {
    return i8x16.shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  }

  /** a0 b0 a1 b1 ... of the lower four 16-bit lanes. */
  @inline static zip16Low(a: v128, b: v128): v128 {
    return i16x8.shuffle(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  }

  /** a4 b4 a5 b5 ... of the upper four 16-bit lanes. */
  @inline static zip16High(a: v128, b: v128): v128 {
    return i16x8.shuffle(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  }

  /** The low byte of each 16-bit lane: of a, then of b. */
  @inline static lowBytes(a: v128, b: v128): v128 {
    return i8x16.shuffle(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  }

  /** The high byte of each 16-bit lane: of a, then of b. */
  @inline static highBytes(a: v128, b: v128): v128 {
    return i8x16.shuffle(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  }

  /** The high half of each 32-bit lane: of a, then of b. */
  @inline static high16(a: v128, b: v128): v128 {
    return i16x8.shuffle(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
  }

  /** Lane i is the largest signed lane of the i-th argument. */
  @inline static maxOfEach(a: v128, b: v128, c: v128, d: v128): v128 {
    const ab = i32x4.max_s(i32x4.shuffle(a, b, 0, 4, 1, 5), i32x4.shuffle(a, b, 2, 6, 3, 7));
    const cd = i32x4.max_s(i32x4.shuffle(c, d, 0, 4, 1, 5), i32x4.shuffle(c, d, 2, 6, 3, 7));
    return i32x4.max_s(i64x2.shuffle(ab, cd, 0, 2), i64x2.shuffle(ab, cd, 1, 3));
  }

  /** Four numbers as lanes. */
  @inline static lanes(a: i32, b: i32, c: i32, d: i32): v128 {
    return i32x4.replace_lane(i32x4.replace_lane(i32x4.replace_lane(i32x4.splat(a), 1, b), 2, c), 3, d);
  }

  /** The lowest four bytes as lanes. */
  @inline static widen4(x: v128): v128 {
    return i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(x));
  }

  /** Whether any bit is set. */
  @inline static any(x: v128): bool {
    return v128.any_true(x);
  }

  /** How many bytes are all ones, where each is that or zero. */
  @inline static count(bytes: v128): i32 {
    return popcnt<i32>(i8x16.bitmask(bytes));
  }

  @inline static or(a: v128, b: v128): v128 {
    return v128.or(a, b);
  }

  /** The sum of four float32 lanes. */
  @inline static sum(x: v128): f32 {
    const pairs = f32x4.add(x, i32x4.shuffle(x, x, 2, 3, 0, 1));
    return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1);
  }

  /** a0 b0 a1 b1: half of a transposition. */
  @inline static zip32Low(a: v128, b: v128): v128 {
    return i32x4.shuffle(a, b, 0, 4, 1, 5);
  }

  /** a2 b2 a3 b3. */
  @inline static zip32High(a: v128, b: v128): v128 {
    return i32x4.shuffle(a, b, 2, 6, 3, 7);
  }

  /** The lower two lanes of a, then of b. */
  @inline static lowHalves(a: v128, b: v128): v128 {
    return i64x2.shuffle(a, b, 0, 2);
  }

  /** The upper two lanes of a, then of b. */
  @inline static highHalves(a: v128, b: v128): v128 {
    return i64x2.shuffle(a, b, 1, 3);
  }
}
