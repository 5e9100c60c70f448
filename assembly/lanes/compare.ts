/**
 * Values x beside the results y of a cast: magnitudes and counts in float32 lanes, sums in float64 lanes. No
 * relaxed operation, and always the same order, so every build reports the same numbers.
 */
export abstract class Compare {
  /** Lanes 0 and 1 as float64. */
  @inline static low(x: v128): v128 {
    return f64x2.promote_low_f32x4(x);
  }

  /** Lanes 2 and 3 as float64. */
  @inline static high(x: v128): v128 {
    return f64x2.promote_low_f32x4(i64x2.shuffle(x, x, 1, 1));
  }

  /** sum + a * b in float64. */
  @inline static addProduct(sum: v128, a: v128, b: v128): v128 {
    return f64x2.add(sum, f64x2.mul(a, b));
  }

  /** |x - y| */
  @inline static error(x: v128, y: v128): v128 {
    return f64x2.abs(f64x2.sub(x, y));
  }

  /** The larger one of each pair of lanes; a NaN in b is passed over. */
  @inline static larger(a: v128, b: v128): v128 {
    return f64x2.pmax(a, b);
  }

  /** The larger one of amax and |x|, in float32 lanes. */
  @inline static largerMagnitude(amax: v128, x: v128): v128 {
    return f32x4.pmax(amax, f32x4.abs(x));
  }

  /** Whether an error exceeds `relative` times its value. */
  @inline static exceeds(errorLow: v128, xLow: v128, errorHigh: v128, xHigh: v128, relative: f64): bool {
    const limit = f64x2.splat(relative);
    const low = f64x2.gt(errorLow, f64x2.mul(limit, f64x2.abs(xLow)));
    const high = f64x2.gt(errorHigh, f64x2.mul(limit, f64x2.abs(xHigh)));
    return v128.any_true(v128.or(low, high));
  }

  /** The largest of `relative` and error / |x| of both lanes; of x = 0 there is no relative error. */
  @inline static largestRelative(relative: f64, error: v128, x: v128): f64 {
    relative = Compare.largerRelative(relative, f64x2.extract_lane(error, 0), f64x2.extract_lane(x, 0));
    return Compare.largerRelative(relative, f64x2.extract_lane(error, 1), f64x2.extract_lane(x, 1));
  }

  /** The larger of `relative` and error / |x|. */
  @inline static largerRelative(relative: f64, error: f64, x: f64): f64 {
    const magnitude = Math.abs(x);
    return magnitude > 0 && error > relative * magnitude ? error / magnitude : relative;
  }

  /** Counts in 32-bit lanes: one more where x is not 0 and y is. */
  @inline static countFlushed(count: v128, x: v128, y: v128): v128 {
    const none = i32x4.splat(0);
    // A mask is -1, so subtracting it counts.
    return i32x4.sub(count, v128.and(f32x4.ne(x, none), f32x4.eq(y, none)));
  }

  /** All ones in the bytes of codes that are `top` but for their sign. */
  @inline static isTop(codes: v128, magnitudeMask: v128, topCode: v128): v128 {
    return i8x16.eq(v128.and(codes, magnitudeMask), topCode);
  }

  @inline static any(mask: v128): bool {
    return v128.any_true(mask);
  }

  /** Byte masks 0..7, and in `highMasks` 8..15, in 16-bit lanes. */
  @inline static lowMasks(bytes: v128): v128 {
    return i16x8.extend_low_i8x16_s(bytes);
  }
  @inline static highMasks(bytes: v128): v128 {
    return i16x8.extend_high_i8x16_s(bytes);
  }

  /** Counts one more in the lanes of `masks` (four of eight 16-bit masks) where |x| is above |y|. */
  @inline static countSaturatedLow(count: v128, masks: v128, x: v128, y: v128): v128 {
    return i32x4.sub(count, v128.and(i32x4.extend_low_i16x8_s(masks), f32x4.gt(f32x4.abs(x), f32x4.abs(y))));
  }
  @inline static countSaturatedHigh(count: v128, masks: v128, x: v128, y: v128): v128 {
    return i32x4.sub(count, v128.and(i32x4.extend_high_i16x8_s(masks), f32x4.gt(f32x4.abs(x), f32x4.abs(y))));
  }

  /** Sum of the float64 lanes. */
  @inline static sum(x: v128): f64 {
    return f64x2.extract_lane(x, 0) + f64x2.extract_lane(x, 1);
  }

  /** The sums of two vectors of float64, side by side. */
  @inline static sums(x: v128, y: v128): v128 {
    return f64x2.add(i64x2.shuffle(x, y, 0, 2), i64x2.shuffle(x, y, 1, 3));
  }

  /** Largest of the float64 lanes, which are not NaN. */
  @inline static largest64(x: v128): f64 {
    return max(f64x2.extract_lane(x, 0), f64x2.extract_lane(x, 1));
  }

  /** Sum of the 32-bit lanes. */
  @inline static total(count: v128): i32 {
    return (
      i32x4.extract_lane(count, 0) +
      i32x4.extract_lane(count, 1) +
      i32x4.extract_lane(count, 2) +
      i32x4.extract_lane(count, 3)
    );
  }

  /** Largest float32 lane; lanes are not NaN. */
  @inline static largest(x: v128): f32 {
    return max(
      max(f32x4.extract_lane(x, 0), f32x4.extract_lane(x, 1)),
      max(f32x4.extract_lane(x, 2), f32x4.extract_lane(x, 3)),
    );
  }
}
