import { Fp8 } from "../../lanes/fp8";
import { Simd } from "../../lanes/simd";
import { Scratch } from "../scratch";
import { Weights } from "./right-operand";

/** Marks a row in a list. */
const DENSE: u32 = 0x80000000;

/**
 * Subnormal codes of the weights. `Shifted` makes float32 below the normal range of them, and many processors need much
 * longer to multiply such numbers: a hundred and fifty cycles on Intel, where one code in ten thousand, as normal weights have,
 * costs 5 % of the speed of a single row, one in a hundred 80 %, and one in twenty 95 % (measured).
 *
 * So rows that have few of them have zeros there, and a list says what they were. Products for a few rows of x add that, panels have it
 * put back. Rows that have more stay as they are, are marked as dense, and are decoded by table: see subnormal-rows.ts. The list:
 *
 *     starts[rows + 1]   uint32: how many entries there are before each row, plus DENSE if the row is that
 *     entries[]          uint32: column * 256 + code, row by row, in the order of columns
 */
export abstract class Subnormals {
  /** Where the list is; 0 if there is none. */
  static list: usize = 0;
  /** The smallest value of the format, not zero. */
  static unit: f64 = 0;

  static set(list: usize, unit: f64): void {
    Subnormals.list = list;
    Subnormals.unit = unit;
  }

  /**
   * How many may be set aside of a row: they and the row's start take at most a sixteenth of the bytes that the codes do, and a
   * column has to fit an entry. Rows that are too short or too long for one are neither looked at nor dense.
   */
  @inline static most(cols: usize): u32 {
    return cols < 128 || cols >= 1 << 24 ? 0 : <u32>(cols / 64 - 1);
  }

  /** Whether row n has been left as it is, with more subnormal codes than `Shifted` should see; past the end, the last one. */
  @inline static isDense(n: usize): bool {
    return Subnormals.list && load<u32>(Subnormals.list + 4 * min(n, Weights.rows - 1)) >= DENSE;
  }

  /** Whether something was set aside of row n. */
  @inline static has(n: usize): bool {
    return Subnormals.list && Subnormals.entries(n) != Subnormals.entries(n + 1);
  }

  /** Where the entries of row n begin. */
  @inline static entries(n: usize): usize {
    const start = load<u32>(Subnormals.list + 4 * n) % DENSE;
    return Subnormals.list + 4 * (Weights.rows + 1 + start);
  }

  /** sums[rows] (float64) <- x[rows, K] . what was set aside of row n. */
  static dots(sums: usize, x: usize, rows: usize, n: usize): void {
    for (let m: usize = 0; m < rows; m++) store<f64>(sums + 8 * m, 0);
    const end = Subnormals.entries(n + 1);
    const scales = Weights.scalesOf(n);
    for (let at = Subnormals.entries(n); at < end; at += 4) {
      const value = Entry.value(at, scales);
      let from = x + 4 * Entry.column(at);
      for (let m: usize = 0; m < rows; m++, from += 4 * Weights.cols) {
        const sum = sums + 8 * m;
        store<f64>(sum, load<f64>(sum) + <f64>load<f32>(from) * value);
      }
    }
  }

  /** panel[column - from][8] <- what was set aside of row n in columns from .. from + columns. */
  static putBack(panel: usize, n: usize, from: usize, columns: usize): void {
    const end = Subnormals.entries(n + 1);
    const scales = Weights.scalesOf(n);
    for (let at = Subnormals.entries(n); at < end; at += 4) {
      const column = Entry.column(at);
      if (column >= from + columns) break;
      if (column >= from) store<f32>(panel + 32 * (column - from), <f32>Entry.value(at, scales));
    }
  }
}

export abstract class Entry {
  @inline static code(at: usize): u8 {
    return load<u8>(at);
  }

  @inline static column(at: usize): usize {
    return load<u32>(at) / 256;
  }

  /** Code times scale, exactly. */
  @inline static value(at: usize, scales: usize): f64 {
    const units = <f64>Fp8.subnormal(Entry.code(at)) * <f64>Weights.scaleAt(scales, Entry.column(at));
    return units * Subnormals.unit;
  }
}

/** Begins the entries of row n, of which there are `start` before; n can be the number of rows, where they end. */
export function startRow(list: usize, n: usize, start: u32, isDense: bool): void {
  store<u32>(list + 4 * n, isDense ? start + DENSE : start);
}

/** How many codes of row n are 1 to `largest`, sign aside. */
export function countSubnormals(n: usize, largest: i32): u32 {
  const zero = Simd.opaqueZero();
  const magnitudeMask = Fp8.magnitudeMask(zero);
  const one = Fp8.one(zero);
  const limit = i8x16.splat(<i8>largest);
  let at = Weights.row(n);
  const rest = Weights.cols & 15;
  const full = at + Weights.cols - rest;
  let count: u32 = 0;
  if (at < full)
    do {
      const m = Fp8.magnitude(v128.load(at), magnitudeMask);
      count += Simd.count(Fp8.isSubnormal(m, one, limit));
      at += 16;
    } while (at < full);
  if (rest) {
    const m = Fp8.magnitude(v128.load(Scratch.take(at, rest)), magnitudeMask);
    count += Simd.count(Fp8.isSubnormal(m, one, limit));
  }
  return count;
}

/** Moves the subnormal codes of rows that are not dense to the list, which has been begun; zeros are in their place. */
export function setSubnormalsAside(list: usize, largest: i32): void {
  Subnormals.list = list;
  const zero = Simd.opaqueZero();
  const magnitudeMask = Fp8.magnitudeMask(zero);
  const one = Fp8.one(zero);
  const limit = i8x16.splat(<i8>largest);
  for (let n: usize = 0; n < Weights.rows; n++) {
    const codes = Weights.row(n);
    const end = Subnormals.entries(n + 1);
    let entry = Subnormals.entries(n);
    for (let column: usize = 0; entry < end; column += 16) {
      const m = Fp8.magnitude(v128.load(codes + column), magnitudeMask);
      if (!Simd.any(Fp8.isSubnormal(m, one, limit))) continue;
      for (let i = column; i < column + 16 && entry < end; i++) {
        const code = load<u8>(codes + i);
        if (!Fp8.isSubnormalCode(code, largest)) continue;
        store<u32>(entry, 256 * <u32>i + code);
        store<u8>(codes + i, 0);
        entry += 4;
      }
    }
  }
}
