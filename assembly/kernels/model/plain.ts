import { F32, Half } from "../../lanes/half";
import { Simd } from "../../lanes/simd";
import { MATRIX_BYTES, MatrixRecord } from "../matrix";
import { multiplyPanels, workspaceOfPanels } from "../products/panels";

/** Up to this many rows of x, widening the weights in registers is faster. */
const FEW_ROWS: usize = 4;

/** Bytes of working memory for `multiplyPlain`: that of the panels, behind the matrix of the weights. */
export function workspaceOfPlain(rows: usize, cols: usize): usize {
  return MATRIX_BYTES + workspaceOfPanels(rows, cols);
}

/** float32 dst[rows, N] <- x[rows, K] . weights[N, K]^T of type T, which have no scales. */
export function multiplyPlain<T>(
  dst: usize,
  x: usize,
  rows: usize,
  values: usize,
  n: usize,
  k: usize,
  work: usize,
): void {
  if (k == 0) memory.fill(dst, 0, 4 * rows * n);
  if (rows == 0 || n == 0 || k == 0) return;
  if (rows > FEW_ROWS) {
    const weights = changetype<MatrixRecord>(work);
    weights.codes = values;
    weights.rows = n;
    weights.cols = k;
    weights.stride = k * Half.size<T>();
    weights.list = 0;
    multiplyPanels<T>(weights, 0, work + MATRIX_BYTES, dst, x, rows, true);
    return;
  }
  for (; rows >= 2; rows -= 2, x += 8 * k, dst += 8 * n) dotRows<T>(2, dst, x, values, n, k);
  if (rows) dotRows<T>(1, dst, x, values, n, k);
}

/**
 * What `multiplyPlain` does, for one row of x or two; four rows of weights, a quarter of them apart, are read
 * at a time.
 */
function dotRows<T>(rows: i32, dst: usize, x: usize, values: usize, n: usize, k: usize): void {
  const quarter = (n + 3) / 4;
  const rowBytes = k * Half.size<T>();
  for (let i: usize = 0; i < quarter; i++) {
    const b = min(i + quarter, n - 1);
    const c = min(i + 2 * quarter, n - 1);
    const d = min(i + 3 * quarter, n - 1);
    const at = dst + 4 * n;
    if (rows == 1) {
      Dot.four<T>(1, dst, at, i, b, c, d, x, values, rowBytes, k);
    } else {
      Dot.four<T>(2, dst, at, i, b, c, d, x, values, rowBytes, k);
    }
  }
}

abstract class Dot {
  @inline static load<T>(src: usize, zero: i32): v128 {
    return idof<T>() == idof<F32>() ? v128.load(src) : Half.widen<T>(v128.load_ext<u16>(src), zero);
  }

  @inline static value<T>(src: usize): f32 {
    return idof<T>() == idof<F32>() ? load<f32>(src) : Half.value<T>(load<u16>(src));
  }

  /** dst[i, b, c, d] <- x . those rows of weights; `secondDst[...]` the same for the second row of x. */
  @inline static four<T>(
    rows: i32,
    dst: usize,
    secondDst: usize,
    i: usize,
    b: usize,
    c: usize,
    d: usize,
    x: usize,
    values: usize,
    rowBytes: usize,
    k: usize,
  ): void {
    const zero = Simd.opaqueZero();
    const step: usize = 4 * Half.size<T>();
    let wa = values + i * rowBytes;
    let wb = values + b * rowBytes;
    let wc = values + c * rowBytes;
    let wd = values + d * rowBytes;
    const second: usize = 4 * k;
    let a0 = f32x4.splat(0);
    let b0 = f32x4.splat(0);
    let c0 = f32x4.splat(0);
    let d0 = f32x4.splat(0);
    let a1 = f32x4.splat(0);
    let b1 = f32x4.splat(0);
    let c1 = f32x4.splat(0);
    let d1 = f32x4.splat(0);
    const full = x + 4 * (k & ~7);
    const end = x + 4 * k;
    while (x < full) {
      let y = v128.load(x);
      let p = Dot.load<T>(wa, zero);
      let q = Dot.load<T>(wb, zero);
      let r = Dot.load<T>(wc, zero);
      let s = Dot.load<T>(wd, zero);
      a0 = Simd.madd(p, y, a0);
      b0 = Simd.madd(q, y, b0);
      c0 = Simd.madd(r, y, c0);
      d0 = Simd.madd(s, y, d0);
      if (rows == 2) {
        y = v128.load(x + second);
        a1 = Simd.madd(p, y, a1);
        b1 = Simd.madd(q, y, b1);
        c1 = Simd.madd(r, y, c1);
        d1 = Simd.madd(s, y, d1);
      }
      y = v128.load(x, 16);
      p = Dot.load<T>(wa + step, zero);
      q = Dot.load<T>(wb + step, zero);
      r = Dot.load<T>(wc + step, zero);
      s = Dot.load<T>(wd + step, zero);
      if (rows == 1) {
        // One row of x: two chains for each row of weights, since each addition waits for the last one.
        a1 = Simd.madd(p, y, a1);
        b1 = Simd.madd(q, y, b1);
        c1 = Simd.madd(r, y, c1);
        d1 = Simd.madd(s, y, d1);
      } else {
        a0 = Simd.madd(p, y, a0);
        b0 = Simd.madd(q, y, b0);
        c0 = Simd.madd(r, y, c0);
        d0 = Simd.madd(s, y, d0);
        y = v128.load(x + second, 16);
        a1 = Simd.madd(p, y, a1);
        b1 = Simd.madd(q, y, b1);
        c1 = Simd.madd(r, y, c1);
        d1 = Simd.madd(s, y, d1);
      }
      x += 32;
      wa += 2 * step;
      wb += 2 * step;
      wc += 2 * step;
      wd += 2 * step;
    }
    if (rows == 1) {
      a0 = f32x4.add(a0, a1);
      b0 = f32x4.add(b0, b1);
      c0 = f32x4.add(c0, c1);
      d0 = f32x4.add(d0, d1);
    }
    let sa = Simd.sum(a0);
    let sb = Simd.sum(b0);
    let sc = Simd.sum(c0);
    let sd = Simd.sum(d0);
    let ta = Simd.sum(a1);
    let tb = Simd.sum(b1);
    let tc = Simd.sum(c1);
    let td = Simd.sum(d1);
    for (; x < end; x += 4) {
      const y = load<f32>(x);
      const p = Dot.value<T>(wa);
      const q = Dot.value<T>(wb);
      const r = Dot.value<T>(wc);
      const s = Dot.value<T>(wd);
      sa += p * y;
      sb += q * y;
      sc += r * y;
      sd += s * y;
      if (rows == 2) {
        const z = load<f32>(x + second);
        ta += p * z;
        tb += q * z;
        tc += r * z;
        td += s * z;
      }
      wa += Half.size<T>();
      wb += Half.size<T>();
      wc += Half.size<T>();
      wd += Half.size<T>();
    }
    store<f32>(dst + 4 * i, sa);
    store<f32>(dst + 4 * b, sb);
    store<f32>(dst + 4 * c, sc);
    store<f32>(dst + 4 * d, sd);
    if (rows == 2) {
      store<f32>(secondDst + 4 * i, ta);
      store<f32>(secondDst + 4 * b, tb);
      store<f32>(secondDst + 4 * c, tc);
      store<f32>(secondDst + 4 * d, td);
    }
  }
}
