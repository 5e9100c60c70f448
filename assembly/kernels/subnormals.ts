import { Fp8 } from "../lanes/fp8";
import { Simd } from "../lanes/simd";
import { decode } from "./dequantize";
import { Scratch } from "./scratch";
import { Weights } from "./weights";

/**
 * Subnormal codes of the weights. `Shifted` makes float32 below the normal range of them, and many processors need much
 * longer to multiply such numbers: a hundred and fifty cycles on Intel, where one code in ten thousand, as normal weights have,
 * took a twentieth of the speed of a single row, one in a hundred four fifths, and one in twenty all but a twentieth (measured).
 *
 * So rows that have few of them have zeros there, and a list says what they were. Products for a few rows of x add that, panels have it
 * put back. Rows that have more stay as they are, are marked as dense, and are decoded by table. The list:
 *
 *     starts[rows + 1]   uint32: how many entries there are before each row, plus DENSE if the row is that
 *     entries[]          uint32: column * 256 + code, row by row, in the order of columns
 */
export abstract class Subnormals {
  /** Where the list is; 0 if there are no subnormal codes. */
  static list: usize = 0;
  /** Whether there is a dense row; and the first row that is not, the number of rows if there is none. */
  static hasDense: bool = false;
  static firstPlain: usize = 0;

  /** For the weights that are set. */
  static set(list: usize): void {
    Subnormals.list = list;
    Subnormals.hasDense = false;
    Subnormals.firstPlain = 0;
    if (list == 0) return;
    Subnormals.firstPlain = Weights.rows;
    for (let n = Weights.rows; n-- > 0; ) {
      if (Subnormals.isDense(n)) Subnormals.hasDense = true;
      else Subnormals.firstPlain = n;
    }
  }

  /** How many may be set aside of a row: the list takes at most a sixteenth of what the codes do. None, if that is no list. */
  @inline static most(cols: usize): usize {
    return cols < 64 || cols >= 1 << 24 ? 0 : cols / 64 - 1;
  }

  /** Whether row n has been left as it is, with more subnormal codes than `Shifted` should see. */
  @inline static isDense(n: usize): bool {
    return load<u32>(Subnormals.list + 4 * n) >= DENSE;
  }

  /** Row n, or the first plain one if it is dense: its sum is then made otherwise. */
  @inline static plainRow(n: usize): usize {
    return n < Weights.rows && Subnormals.isDense(n) ? Subnormals.firstPlain : n;
  }

  /** Whether row n is not dense, and nothing was set aside of it. */
  @inline static isClean(n: usize): bool {
    const start = load<u32>(Subnormals.list + 4 * n);
    return start < DENSE && start == load<u32>(Subnormals.list + 4 * n, 4) % DENSE;
  }

  @inline static entries(n: usize): usize {
    const start = load<u32>(Subnormals.list + 4 * n) % DENSE;
    return Subnormals.list + 4 * (Weights.rows + 1 + start);
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

const DENSE: u32 = 0x80000000;

abstract class Entry {
  @inline static column(at: usize): usize {
    return load<u32>(at) / 256;
  }

  /** Code times scale, exactly. */
  @inline static value<F>(at: usize, scales: usize): f64 {
    return Fp8.subnormal<F>(load<u8>(at)) * <f64>Weights.scaleAt(scales, Entry.column(at));
  }
}

/**
 * The beginning of a list for all rows but those that are `far`, a byte each. Returns whether there is a subnormal code to
 * make a list for.
 */
export function startSubnormals<F>(list: usize, far: usize): bool {
  const most = Subnormals.most(Weights.cols);
  let start: u32 = 0;
  let isNeeded = false;
  for (let n: usize = 0; n < Weights.rows; n++) {
    const count: u32 = most == 0 || load<u8>(far + n) ? 0 : countSubnormals<F>(n);
    const isDense = count > most;
    store<u32>(list + 4 * n, isDense ? start + DENSE : start);
    if (!isDense) start += count;
    if (count) isNeeded = true;
  }
  store<u32>(list + 4 * Weights.rows, start);
  return isNeeded;
}

function countSubnormals<F>(n: usize): u32 {
  const zero = Simd.opaqueZero();
  const magnitudeMask = Fp8.magnitudeMask(zero);
  const one = Fp8.one(zero);
  const subnormals = Fp8.subnormals<F>(zero);
  let at = Weights.row(n);
  const rest = Weights.cols & 15;
  const full = at + Weights.cols - rest;
  let count: u32 = 0;
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
  return count;
}

/** Moves the subnormal codes of rows that are not dense to the list, which has been begun; zeros are in their place. */
export function setSubnormalsAside<F>(list: usize): void {
  Subnormals.set(list);
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

/** Codes that are decoded by table at a time. */
export const PIECE: usize = 512;

/** Rows whose codes are decoded by table. `room` holds PIECE float32. */
export abstract class Dense {
  /** x[K] . row n, summed in float64. */
  static dot<F>(x: usize, n: usize, room: usize): f64 {
    let sum: f64 = 0;
    for (let from: usize = 0; from < Weights.cols; from += PIECE) {
      const end = min(from + PIECE, Weights.cols);
      decode<F>(room, Weights.row(n) + from, end - from);
      for (let k = from; k < end; ) {
        const next = min(blockEnd(k), end);
        sum +=
          dot64(x + 4 * k, room + 4 * (k - from), next - k) * <f64>Weights.scaleAt(Weights.scalesOf(n), k);
        k = next;
      }
    }
    return sum;
  }

  /** panel[column - from][8] <- row n in columns from .. from + columns, PIECE at most, scaled. */
  static fill<F>(panel: usize, n: usize, from: usize, columns: usize, room: usize): void {
    const end = min(from + columns, Weights.cols);
    decode<F>(room, Weights.row(n) + from, end - from);
    for (let k = from; k < end; ) {
      const next = min(blockEnd(k), end);
      const scale = Weights.scaleAt(Weights.scalesOf(n), k);
      for (; k < next; k++, room += 4, panel += 32) store<f32>(panel, load<f32>(room) * scale);
    }
  }
}

/** The column behind the block that column k is in. */
function blockEnd(k: usize): usize {
  return k - (k % Weights.blockCols) + Weights.blockCols;
}

/** x[n] . y[n], float32 both, in float64. */
function dot64(x: usize, y: usize, n: usize): f64 {
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  const full = x + 4 * (n & ~3);
  const end = x + 4 * n;
  if (x < full)
    do {
      const a = Simd.toF64(v128.load64_zero(x));
      const b = Simd.toF64(v128.load64_zero(x, 8));
      low = f64x2.add(low, f64x2.mul(a, Simd.toF64(v128.load64_zero(y))));
      high = f64x2.add(high, f64x2.mul(b, Simd.toF64(v128.load64_zero(y, 8))));
      x += 16;
      y += 16;
    } while (x < full);
  let sum = Simd.sum64(f64x2.add(low, high));
  for (; x < end; x += 4, y += 4) sum += <f64>load<f32>(x) * <f64>load<f32>(y);
  return sum;
}
