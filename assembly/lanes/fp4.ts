import { Simd } from "./simd";

/** E2M1 codes, a byte each. */
export abstract class Fp4 {
  /** E4M3 codes of the same sixteen values: by table of the magnitudes 0, 0.5, 1, 1.5, 2, 3, 4 and 6. */
  @inline static asE4m3(codes: v128): v128 {
    const table = i8x16(0, 0x30, 0x38, 0x3c, 0x40, 0x44, 0x48, 0x4c, 0, 0, 0, 0, 0, 0, 0, 0);
    const magnitudes = Simd.lookup(table, v128.and(codes, i8x16.splat(7)));
    return v128.or(magnitudes, v128.and(codes, i8x16.splat(<i8>0x80)));
  }
}
