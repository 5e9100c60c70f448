import { F32, Half } from "../../lanes/half";
import { Simd } from "../../lanes/simd";
import { MatrixRecord } from "../matrix";
import { Scratch } from "../scratch";

/**
 * panel[columns][8] <- float32 of rows n .. n + 7, columns from .. from + columns; 0 past the end of a row.
 * For weights of type T without scales.
 */
export function widenPanel<T>(
  panel: usize,
  weights: MatrixRecord,
  n: usize,
  from: usize,
  columns: usize,
): void {
  const width = min(columns, weights.cols - from);
  for (let half: usize = 0; half < 2; half++, panel += 16, n += 4) {
    const at = from * Half.size<T>();
    const a = weights.codesOf(weights.clampRow(n)) + at;
    const b = weights.codesOf(weights.clampRow(n + 1)) + at;
    const c = weights.codesOf(weights.clampRow(n + 2)) + at;
    const d = weights.codesOf(weights.clampRow(n + 3)) + at;
    const full = (width & ~3) * Half.size<T>();
    const zero = Simd.opaqueZero();
    let dst = panel;
    for (let i: usize = 0; i < full; i += 4 * Half.size<T>(), dst += 128)
      Quad.put(
        dst,
        Quad.load<T>(a + i, zero),
        Quad.load<T>(b + i, zero),
        Quad.load<T>(c + i, zero),
        Quad.load<T>(d + i, zero),
      );
    const rest = (width & 3) * Half.size<T>();
    if (rest) {
      const p = Quad.load<T>(Scratch.padInput(a + full, rest), zero);
      const q = Quad.load<T>(Scratch.padInput(b + full, rest), zero);
      const r = Quad.load<T>(Scratch.padInput(c + full, rest), zero);
      Quad.put(dst, p, q, r, Quad.load<T>(Scratch.padInput(d + full, rest), zero));
      dst += 128;
    }
    for (const end = panel + 32 * columns; dst < end; dst += 32) v128.store(dst, f32x4.splat(0));
  }
}

/** Four values of type T. */
export abstract class Quad {
  /** As float32. */
  @inline static load<T>(src: usize, zero: i32): v128 {
    return idof<T>() == idof<F32>() ? v128.load(src) : Half.widen<T>(v128.load_ext<u16>(src), zero);
  }

  /** Four values of four rows, transposed: dst[4][8] at columns 0 to 3. */
  @inline static put(dst: usize, a: v128, b: v128, c: v128, d: v128): void {
    const low01 = Simd.zip32Low(a, b);
    const low23 = Simd.zip32Low(c, d);
    const high01 = Simd.zip32High(a, b);
    const high23 = Simd.zip32High(c, d);
    v128.store(dst, Simd.lowHalves(low01, low23));
    v128.store(dst, Simd.highHalves(low01, low23), 32);
    v128.store(dst, Simd.lowHalves(high01, high23), 64);
    v128.store(dst, Simd.highHalves(high01, high23), 96);
  }
}
