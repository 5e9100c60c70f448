import type { Dtype } from "../../safetensors/dtype.ts";
import type { Fp8Format, ValueType } from "../../tensor/tensor.ts";
import type { StoredTensor } from "./checkpoint.ts";

/**
 * An element type of codes, as far as this package reads them. `e2m1` and `int4` come two to a byte, low
 * nibble first, `e2m3` four to three bytes, the first lowest; `int4` is the integer plus 8.
 */
export type ElementType = "e4m3" | "e5m2" | "e4m3fnuz" | "e5m2fnuz" | "e2m1" | "e2m3" | "int4";

/**
 * How codes are read: `format` is the FP8 format that they are decoded as. Codes of 4 and 6 bits become E4M3
 * codes of the same values.
 */
export const ELEMENTS: Readonly<
  Record<ElementType, { readonly format: Fp8Format; readonly isFnuz: boolean; readonly codeBits: 4 | 6 | 8 }>
> = {
  e4m3: { format: "e4m3", isFnuz: false, codeBits: 8 },
  e5m2: { format: "e5m2", isFnuz: false, codeBits: 8 },
  e4m3fnuz: { format: "e4m3", isFnuz: true, codeBits: 8 },
  e5m2fnuz: { format: "e5m2", isFnuz: true, codeBits: 8 },
  // Every value of E2M1 and E2M3, and every integer of 4 bits, is one of E4M3.
  e2m1: { format: "e4m3", isFnuz: false, codeBits: 4 },
  e2m3: { format: "e4m3", isFnuz: false, codeBits: 6 },
  int4: { format: "e4m3", isFnuz: false, codeBits: 4 },
};

/** How the scales of a weight are stored: UE8M0 bytes, E4M3 bytes (NVFP4), or multipliers. */
export type ScaleType = "ue8m0" | "e4m3" | ValueType;

/** A weight whose values are stored as they are. */
export interface PlainWeight {
  readonly kind: "plain";
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: ValueType;
  readonly values: StoredTensor;
  /** Values lie in the file with rows and columns exchanged: `shape` is that after turning them back. */
  readonly transposed?: true;
}

/** A weight stored as codes and scales. */
export interface ScaledWeight {
  readonly kind: "scaled";
  /** What the weight is called once it is no longer quantised. */
  readonly name: string;
  /** Shape of the values, not of packed codes. */
  readonly shape: readonly number[];
  readonly element: ElementType;
  readonly codes: StoredTensor;
  /** `null` where a missing scale is taken as 1. */
  readonly scales: StoredTensor | null;
  readonly scaleType: ScaleType;
  /**
   * A float32 for the whole tensor, or for each slice, by which scales are multiplied, or divided (NVFP4).
   */
  readonly tensorScale?: { readonly place: StoredTensor; readonly divides: boolean };
  /** Tensors that say what the codes and scales say already. */
  readonly redundant?: readonly StoredTensor[];
  /**
   * Where fewer scales are stored than there are blocks: how many blocks, one after the other, each stored
   * one serves: the rows of each part of a fused matrix, or all slices of a stack.
   */
  readonly blocksPerScale?: readonly number[];
  /** Scales from one row of the grid to the next, where the stored grid is wider than the weight needs. */
  readonly storedCols?: number;
  /** `[rows, cols]`; the whole matrix where one scale serves all of it. */
  readonly block: readonly [number, number];
  /** Whether models expect the plain values with rows and columns exchanged, as gpt-oss does. */
  readonly transposed: boolean;
  /** A byte holds two codes of a column, the upper one in its lower nibble; left out, two of a row. */
  readonly packedAlong?: "cols";
}

/** A tensor that is no weight we know how to convert. */
export interface OtherTensor {
  readonly kind: "other";
  readonly name: string;
  readonly tensor: StoredTensor;
}

/** One logical tensor of a checkpoint: what remains when codes and scales are taken together. */
export type Weight = PlainWeight | ScaledWeight | OtherTensor;

/** Places of the bytes of a weight: values or codes first, scales after them. */
export function storedTensorsOf(weight: Weight): readonly [StoredTensor, ...StoredTensor[]] {
  if (weight.kind === "other") return [weight.tensor];
  if (weight.kind === "plain") return [weight.values];
  if (weight.scales === null) return [weight.codes];
  const { codes, scales, tensorScale, redundant = [] } = weight;
  return tensorScale === undefined ? [codes, scales, ...redundant] : [codes, scales, tensorScale.place];
}

/** The value type behind a dtype; `null` for integers, codes and the like. */
export function valueTypeOf(dtype: Dtype): ValueType | null {
  switch (dtype) {
    case "F32":
      return "f32";
    case "BF16":
      return "bf16";
    case "F16":
      return "f16";
    default:
      return null;
  }
}

/** Rows and columns of one slice, and the number of slices: `[..., rows, cols]`. */
export interface MatrixShape {
  readonly slices: number;
  readonly rows: number;
  readonly cols: number;
}

/** Splits a shape into slices of matrices; a 1-D shape is one row. */
export function matrixOf(shape: readonly number[]): MatrixShape {
  return {
    slices: shape.slice(0, -2).reduce((n, size) => n * size, 1),
    rows: shape.length < 2 ? 1 : shape[shape.length - 2]!,
    cols: shape.length < 1 ? 1 : shape[shape.length - 1]!,
  };
}

/** Elements of a shape. */
export function countOf(shape: readonly number[]): number {
  return shape.reduce((n, size) => n * size, 1);
}

/** Shape of the values of a weight once they are plain. */
export function plainShape(weight: PlainWeight | ScaledWeight): readonly number[] {
  return weight.transposed ? transposedShape(weight.shape) : weight.shape;
}

/** The shape with rows and columns exchanged. */
export function transposedShape(shape: readonly number[]): readonly number[] {
  return [...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!];
}

/** Shape of the scales of a weight: one per block, slices kept. */
export function scaleShape(
  shape: readonly number[],
  [blockRows, blockCols]: readonly [number, number],
): number[] {
  const { rows, cols } = matrixOf(shape);
  // Not by spreading: V8 gives such an array room for more numbers than these.
  return shape.slice(0, -2).concat(Math.ceil(rows / blockRows), Math.ceil(cols / blockCols));
}

/** MXFP4: codes of E2M1, and a UE8M0 byte for 32 of them. */
export function mxfp4Weight(
  name: string,
  shape: readonly number[],
  codes: StoredTensor,
  scales: StoredTensor,
): ScaledWeight {
  return {
    kind: "scaled",
    name,
    shape,
    element: "e2m1",
    codes,
    scales,
    scaleType: "ue8m0",
    block: [1, 32],
    transposed: false,
  };
}
