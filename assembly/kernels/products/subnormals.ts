import { E4M3, E5M2 } from "../../lanes/format";
import { Fp8 } from "../../lanes/fp8";
import { Simd } from "../../lanes/simd";
import { E4M3_CODES, MatrixRecord } from "../matrix";
import { Scratch } from "../scratch";

/** Marks a row with many subnormal codes, in a list. */
const MANY: u32 = 0x80000000;

/**
 * Subnormal codes of the weights. `Shifted` makes float32 below the normal range of them, and many processors
 * need much longer to multiply such numbers: a hundred and fifty cycles on Intel, where one code in ten
 * thousand, as normal weights have, costs 5 % of the speed of a single row, one in a hundred 80 %, and one in
 * twenty 95 % (measured).
 *
 * So rows that have few of them have zeros there, and a list says what they were. Products for a few rows of
 * x add that, panels have it put back. Rows with many of them stay as they are, are marked, and are decoded
 * by table: see subnormal-rows.ts. The list:
 *
 *     starts[rows + 1]   uint32: how many entries there are before each row, plus MANY if the row has many
 *     entries[]          uint32: column * 256 + code, row by row, in the order of columns
 */
export abstract class Subnormals {
  /**
   * How many codes of a row the list takes at most: they and the row's start take at most a sixteenth of the
   * bytes that the codes do, and a column has to fit an entry. Rows that are too short or too long for one
   * are not looked at.
   */
  @inline static most(cols: usize): u32 {
    return cols < 128 || cols >= 1 << 24 ? 0 : <u32>(cols / 64 - 1);
  }

  /** Whether row n has been left as it is, with more subnormal codes than `Shifted` should see. */
  @inline static hasMany(weights: MatrixRecord, n: usize): bool {
    const list = weights.list;
    return list && load<u32>(list + 4 * n) >= MANY;
  }

  /** Whether the list has codes of row n. */
  @inline static has(weights: MatrixRecord, n: usize): bool {
    return weights.list && Subnormals.entries(weights, n) != Subnormals.entries(weights, n + 1);
  }

  /** Where the entries of row n begin. */
  @inline static entries(weights: MatrixRecord, n: usize): usize {
    const list = weights.list;
    const start = load<u32>(list + 4 * n) % MANY;
    return list + 4 * (weights.rows + 1 + start);
  }

  /** sums[rows] (float64) <- x[rows, K] . the codes of row n in the list. */
  static dots(sums: usize, weights: MatrixRecord, x: usize, rows: usize, n: usize): void {
    for (let m: usize = 0; m < rows; m++) store<f64>(sums + 8 * m, 0);
    const end = Subnormals.entries(weights, n + 1);
    const scales = weights.scalesOf(n);
    for (let at = Subnormals.entries(weights, n); at < end; at += 4) {
      const value = Entry.value(at, weights, scales);
      let from = x + 4 * Entry.column(at);
      for (let m: usize = 0; m < rows; m++, from += 4 * weights.cols) {
        const sum = sums + 8 * m;
        store<f64>(sum, load<f64>(sum) + <f64>load<f32>(from) * value);
      }
    }
  }

  /** panel[column - from][8] <- the codes of row n in the list, of columns from .. from + columns. */
  static putBack(panel: usize, weights: MatrixRecord, n: usize, from: usize, columns: usize): void {
    const end = Subnormals.entries(weights, n + 1);
    const scales = weights.scalesOf(n);
    for (let at = Subnormals.entries(weights, n); at < end; at += 4) {
      const column = Entry.column(at);
      if (column >= from + columns) break;
      if (column >= from) store<f32>(panel + 32 * (column - from), <f32>Entry.value(at, weights, scales));
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
  @inline static value(at: usize, weights: MatrixRecord, scales: usize): f64 {
    const units = <f64>Fp8.subnormal(Entry.code(at)) * <f64>weights.scaleAt(scales, Entry.column(at));
    return units * (weights.format == E4M3_CODES ? Fp8.smallest<E4M3>() : Fp8.smallest<E5M2>());
  }
}

/**
 * Begins the entries of row n, of which there are `start` before; n can be the number of rows, where they
 * end.
 */
export function startRow(list: usize, n: usize, start: u32, hasMany: bool): void {
  store<u32>(list + 4 * n, hasMany ? start + MANY : start);
}

/** How many codes of row n are 1 to `largest`, sign aside. */
export function countSubnormals(weights: MatrixRecord, n: usize, largest: i32): u32 {
  const zero = Simd.opaqueZero();
  const magnitudeMask = Fp8.magnitudeMask(zero);
  const one = Fp8.one(zero);
  const limit = i8x16.splat(<i8>largest);
  let at = weights.codesOf(n);
  const rest = weights.cols & 15;
  const full = at + weights.cols - rest;
  let count: u32 = 0;
  if (at < full)
    do {
      const m = Fp8.magnitude(v128.load(at), magnitudeMask);
      count += Simd.count(Fp8.isSubnormal(m, one, limit));
      at += 16;
    } while (at < full);
  if (rest) {
    const m = Fp8.magnitude(v128.load(Scratch.padInput(at, rest)), magnitudeMask);
    count += Simd.count(Fp8.isSubnormal(m, one, limit));
  }
  return count;
}

/**
 * Moves the subnormal codes of rows that have few of them to the list, which has been begun; zeros are in
 * their place.
 */
export function moveSubnormals(weights: MatrixRecord, largest: i32): void {
  const zero = Simd.opaqueZero();
  const magnitudeMask = Fp8.magnitudeMask(zero);
  const one = Fp8.one(zero);
  const limit = i8x16.splat(<i8>largest);
  for (let n: usize = 0; n < weights.rows; n++) {
    const codes = weights.codesOf(n);
    const end = Subnormals.entries(weights, n + 1);
    let entry = Subnormals.entries(weights, n);
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
