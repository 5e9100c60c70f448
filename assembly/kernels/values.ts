import { F32, Half } from "../lanes/half";

/**
 * Element i of a result in float32, or in bfloat16 if `type` is not 0: an id of VALUE_TYPE_ID of
 * src/tensor/formats.ts.
 */
export function storeResult(type: i32, dst: usize, i: usize, value: f32): void {
  if (type == 0) store<f32>(dst + 4 * i, value);
  else store<u16>(dst + 2 * i, Half.bf16(value));
}

/** Loads and stores of sixteen values of type T as four vectors of float32. */
export abstract class Values {
  @inline static load0<T>(src: usize, zero: i32): v128 {
    return idof<T>() == idof<F32>() ? v128.load(src) : Half.widen<T>(v128.load_ext<u16>(src), zero);
  }
  @inline static load1<T>(src: usize, zero: i32): v128 {
    return idof<T>() == idof<F32>() ? v128.load(src, 16) : Half.widen<T>(v128.load_ext<u16>(src, 8), zero);
  }
  @inline static load2<T>(src: usize, zero: i32): v128 {
    return idof<T>() == idof<F32>() ? v128.load(src, 32) : Half.widen<T>(v128.load_ext<u16>(src, 16), zero);
  }
  @inline static load3<T>(src: usize, zero: i32): v128 {
    return idof<T>() == idof<F32>() ? v128.load(src, 48) : Half.widen<T>(v128.load_ext<u16>(src, 24), zero);
  }

  @inline static store<T>(dst: usize, a: v128, b: v128, c: v128, d: v128, zero: i32): void {
    if (idof<T>() == idof<F32>()) {
      v128.store(dst, a);
      v128.store(dst, b, 16);
      v128.store(dst, c, 32);
      v128.store(dst, d, 48);
    } else {
      v128.store(dst, Half.narrow<T>(a, b, zero));
      v128.store(dst, Half.narrow<T>(c, d, zero), 16);
    }
  }
}
