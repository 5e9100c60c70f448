import { type CheckedTensor, checkArray, checkTensor, kindOf } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { FORMATS, scaleValues, valueOfCode } from "../tensor/formats.ts";
import { asFp8 } from "../tensor/sub-byte.ts";
import type { BlockScaled } from "../tensor/tensor.ts";
import { gridOf } from "../tensor/tensor.ts";
import { transposeInto } from "../tensor/transpose.ts";
import { Int8Activations } from "./activations.ts";
import { ResidentMatrix } from "./resident.ts";

/** A float32 matrix, row-major. A shape of one size is one row. */
export interface Matrix {
  readonly values: Float32Array;
  readonly shape: readonly number[];
}

/** What can stand on the left of a product. */
export type LeftOperand = Matrix | ResidentMatrix | BlockScaled | Int8Activations;

/** The left operand as the kernels take it, and the rows that float32 cannot hold. */
export interface Left {
  /**
   * [rows, cols], row-major: an array, or a matrix that is in the engine's memory already, rounded to int8 or
   * not.
   */
  readonly values: Float32Array | ResidentMatrix | Int8Activations;
  readonly rows: number;
  readonly cols: number;
  readonly float64Values: ReadonlyMap<number, Float64Array>;
}

const NO_ROWS: ReadonlyMap<number, Float64Array> = new Map();

/** A left operand whose fields fit each other; codes are FP8. */
export type CheckedLeft = Matrix | ResidentMatrix | CheckedTensor | Int8Activations;

/**
 * Checks the left operand.
 * @returns it, and its size as it lies in memory
 * @throws BlockscaleError `option`, `shape`, `buffer`
 */
export function checkLeft(
  where: string,
  x: LeftOperand,
): { readonly operand: CheckedLeft; readonly rows: number; readonly cols: number } {
  if (x instanceof ResidentMatrix) x.address(where); // throws if it was freed
  if (x instanceof ResidentMatrix || x instanceof Int8Activations)
    return { operand: x, rows: x.shape[0], cols: x.shape[1] };
  // Arrays, typed or not, have a method named values.
  const isArray = Array.isArray(x) || ArrayBuffer.isView(x);
  if (typeof x !== "object" || x === null || isArray || !("values" in x || "codes" in x)) {
    throw new BlockscaleError("option", {
      where,
      expected: "{ values, shape } or a block-scaled record",
      got: kindOf(x),
      fix: "Wrap a Float32Array: { values, shape: [M, K] }.",
    });
  }
  const checked = "codes" in x ? checkTensor(where, x) : undefined;
  const { slices, rows, cols } = checked?.grid ?? gridOf(where, x.shape, [1, 1]);
  if (slices !== 1) throw notAMatrix(where, x.shape);
  if (checked !== undefined) return { operand: asFp8(checked), rows, cols };
  const { values, shape } = x as Matrix;
  checkArray(`${where}.values`, values, "Float32Array", rows * cols);
  return { operand: { values, shape }, rows, cols };
}

/** Checks the left operand and brings it to float32 [M, K]. */
export function leftOf(
  where: string,
  given: LeftOperand,
  isTransposed: boolean,
  dequantize: (tensor: CheckedTensor) => Float32Array,
): Left {
  const { operand: x, rows, cols } = checkLeft(where, given);
  if (x instanceof Int8Activations) {
    if (!isTransposed) return { values: x, rows, cols, float64Values: NO_ROWS };
    throw new BlockscaleError("option", {
      where: "gemm: layout",
      expected: "x as it was rounded: its rows share scales",
      got: "a layout that transposes it",
      fix: "Transpose x before engine.activations.",
    });
  }
  if (x instanceof ResidentMatrix) {
    if (!isTransposed) return { values: x, rows, cols, float64Values: NO_ROWS };
    const values = transposeInto(new Float32Array(rows * cols), x.view("gemm: x"), rows, cols);
    return { values, rows: cols, cols: rows, float64Values: NO_ROWS };
  }
  const floats = "codes" in x ? dequantize(x) : x.values;
  const float64Rows = "codes" in x ? float64RowsOf(x, rows, cols) : NO_ROWS;
  if (!isTransposed) return { values: floats, rows, cols, float64Values: float64Rows };
  const values = transposeInto(new Float32Array(floats.length), floats, rows, cols);
  const columns = float64Rows.size === 0 ? NO_ROWS : transposeFloat64Rows(float64Rows, rows, cols, floats);
  return { values, rows: cols, cols: rows, float64Values: columns };
}

export function notAMatrix(where: string, shape: readonly number[]): BlockscaleError {
  return new BlockscaleError("shape", {
    where,
    expected: "a matrix",
    got: `[${shape.join(", ")}]`,
    fix: "Multiply one slice at a time, or name a slice per row with `experts`.",
  });
}

/** Rows with a scale so large that a code times it may be beyond float32, as float64 values. */
function float64RowsOf(x: BlockScaled, rows: number, cols: number): ReadonlyMap<number, Float64Array> {
  const { scales, block } = x;
  const limit = 2 ** (126 - FORMATS[x.format].emax);
  const numbers = scaleValues(scales);
  if (numbers.every((scale) => !(Math.abs(scale) > limit))) return NO_ROWS;
  const gridCols = Math.ceil(cols / block[1]);
  const float64Rows = new Map<number, Float64Array>();
  for (let row = 0; row < rows; row++) {
    const first = Math.floor(row / block[0]) * gridCols;
    if (numbers.subarray(first, first + gridCols).every((scale) => !(Math.abs(scale) > limit))) continue;
    float64Rows.set(
      row,
      Float64Array.from(
        { length: cols },
        (_, k) =>
          valueOfCode(x.format, x.codes[row * cols + k]!) * numbers[first + Math.floor(k / block[1])]!,
      ),
    );
  }
  return float64Rows;
}

/** After transposing, a row that needs float64 is a column, so every row of the result needs float64. */
function transposeFloat64Rows(
  float64Rows: ReadonlyMap<number, Float64Array>,
  rows: number,
  cols: number,
  values: Float32Array,
): ReadonlyMap<number, Float64Array> {
  const transposed = new Map<number, Float64Array>();
  for (let col = 0; col < cols; col++) {
    transposed.set(
      col,
      Float64Array.from(
        { length: rows },
        (_, row) => float64Rows.get(row)?.[col] ?? values[row * cols + col]!,
      ),
    );
  }
  return transposed;
}
