import { Fp8 } from "../lanes/fp8";
import { Simd } from "../lanes/simd";
import { Scratch } from "./scratch";
import { Weights } from "./weights";

/**
 * Subnormal codes of the weights, set aside. `Shifted` makes float32 below the normal range of them, and many processors
 * need much longer to multiply such numbers: a hundred and fifty cycles on Intel, where one code in ten thousand, as normal
 * weights have, took a tenth of the speed of a single row, and one in a hundred four fifths (measured). So rows with
 * few of them have zeros there, and a list says what they were, row by row:
 *
 *     starts[rows + 1]   uint32: how many there are before each row
 *     entries[]          uint32: column * 256 + code, in the order of columns
 *
 * Products for a few rows of x add what the list says, panels have it put back.
 */
export abstract class Subnormals {
  /** Where the list is; 0 if nothing was set aside. */
  static list: usize = 0;

  /** How many may be set aside of a row: the list takes at most a sixteenth of what the codes do. */
  @inline static most(cols: usize): usize {
    return cols < 64 || cols >= 1 << 24 ? 0 : cols / 64 - 1;
  }

  @inline static entries(n: usize): usize {
    return Subnormals.list + 4 * (Weights.rows + 1 + load<u32>(Subnormals.list + 4 * n));
  }

  /** Whether something was set aside of row n. */
  @inline static has(n: usize): bool {
    return Subnormals.list != 0 && Subnormals.entries(n) != Subnormals.entries(n + 1);
  }

  /** x[K], of type X, . what was set aside of row n, summed in float64. */
  @inline static dot<F, X>(x: usize, n: usize): f64 {
    const end = Subnormals.entries(n + 1);
    const scales = Weights.scalesOf(n);
    let sum: f64 = 0;
    for (let at = Subnormals.entries(n); at < end; at += 4) {
      sum += <f64>load<X>(x + sizeof<X>() * Entry.column(at)) * Entry.value<F>(at, scales);
    }
    return sum;
  }

  /** panel[column - from][8] <- what was set aside of row n in columns from .. from + columns. */
  static putBack<F>(panel: usize, n: usize, from: usize, columns: usize): void {
    const end = Subnormals.entries(n + 1);
    const scales = Weights.scalesOf(n);
    for (let at = Subnormals.entries(n); at < end; at += 4) {
      const column = Entry.column(at) - from;
      // Columns in front have wrapped round.
      if (column < columns) store<f32>(panel + 32 * column, <f32>Entry.value<F>(at, scales));
    }
  }
}

abstract class Entry {
  @inline static column(at: usize): usize {
    return load<u32>(at) / 256;
  }

  /** Code times scale, exactly. */
  @inline static value<F>(at: usize, scales: usize): f64 {
    const block = Entry.column(at) / Weights.blockCols;
    const scale = Weights.scale(scales + block * Weights.scaleBytes);
    return Fp8.subnormal<F>(load<u8>(at)) * <f64>scale;
  }
}

/** How many subnormal codes a row has that can be set aside. */
export function countSubnormals<F>(n: usize): usize {
  const most = Subnormals.most(Weights.cols);
  if (most == 0) return 0;
  const zero = Simd.opaqueZero();
  const magnitudeMask = Fp8.magnitudeMask(zero);
  const one = Fp8.one(zero);
  const subnormals = Fp8.subnormals<F>(zero);
  let at = Weights.row(n);
  const rest = Weights.cols & 15;
  const full = at + Weights.cols - rest;
  let count: usize = 0;
  if (at < full)
    do {
      const m = Fp8.magnitude(v128.load(at), magnitudeMask);
      count += Simd.count(Fp8.isSubnormal(m, one, subnormals));
      at += 16;
    } while (at < full);
  if (rest) {
    const m = Fp8.magnitude(v128.load(Scratch.take(at, rest)), magnitudeMask);
    count += Simd.count(Fp8.isSubnormal(m, one, subnormals));
  }
  return count <= most ? count : 0;
}

/** Moves the subnormal codes of the rows that `starts` gives some entries to the list; zeros are in their place. */
export function setSubnormalsAside<F>(list: usize): void {
  Subnormals.list = list;
  const zero = Simd.opaqueZero();
  const magnitudeMask = Fp8.magnitudeMask(zero);
  const one = Fp8.one(zero);
  const subnormals = Fp8.subnormals<F>(zero);
  for (let n: usize = 0; n < Weights.rows; n++) {
    const codes = Weights.row(n);
    const end = Subnormals.entries(n + 1);
    let entry = Subnormals.entries(n);
    for (let column: usize = 0; entry < end; column += 16) {
      const m = Fp8.magnitude(v128.load(codes + column), magnitudeMask);
      if (!Simd.any(Fp8.isSubnormal(m, one, subnormals))) continue;
      for (let i = column; i < column + 16 && entry < end; i++) {
        const code = load<u8>(codes + i);
        if (!Fp8.isSubnormalCode<F>(code)) continue;
        store<u32>(entry, 256 * i + code);
        store<u8>(codes + i, 0);
        entry += 4;
      }
    }
  }
}
