import { BlockscaleError } from "./errors.ts";
import { type Fp8Format, scaleTypeOf } from "./formats.ts";
import { bytesOfCodes, codesInWholeBytes } from "./sub-byte.ts";
import {
  type BlockScaled,
  checkFormat,
  type Format,
  type Grid,
  gridOf,
  type Values,
  type ValueType,
} from "./tensor.ts";

type ArrayName =
  | "Float32Array"
  | "Float64Array"
  | "Int32Array"
  | "Uint8Array"
  | "Uint16Array"
  | "Float16Array";
type Checked<N extends ArrayName> = N extends "Float32Array"
  ? Float32Array
  : N extends "Uint8Array"
    ? Uint8Array
    : N extends "Int32Array"
      ? Int32Array
      : N extends "Float64Array"
        ? Float64Array
        : Uint16Array;

/** The name of a typed array's class, also if it comes from another realm; undefined for anything else. */
function arrayName(value: unknown): string | undefined {
  return ArrayBuffer.isView(value)
    ? (value as unknown as { [Symbol.toStringTag]?: string })[Symbol.toStringTag]
    : undefined;
}

/** What a value is, for messages: the class of a typed array, "a plain array", "null", or its type. */
export function kindOf(value: unknown): string {
  return (
    arrayName(value) ?? (Array.isArray(value) ? "a plain array" : value === null ? "null" : typeof value)
  );
}

/** Whether a value is an object with fields: no array of any kind. */
export function isRecord(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

/**
 * A caller's typed array that is safe to read or write: of the right class and
 * length, on a buffer that is there and stays.
 * @param length elements it must have; undefined for any
 * @throws BlockscaleError `buffer` or `shape`
 */
export function checkArray<N extends ArrayName>(
  where: string,
  value: unknown,
  name: N,
  length?: number,
): Checked<N> {
  const found = arrayName(value);
  if (found !== name) {
    throw new BlockscaleError("buffer", {
      where,
      expected: `a ${name}`,
      got: kindOf(value),
      fix: `Convert the numbers: ${name}.from(array); or view the same bytes as what they are: new ${name}(array.buffer, array.byteOffset, length).`,
    });
  }
  const array = value as Checked<N>;
  checkBuffer(where, array.buffer);
  if (length !== undefined && array.length !== length) {
    throw new BlockscaleError("shape", {
      where,
      expected: `${length} elements`,
      got: `${array.length}`,
      fix: "Check the shape and the block against the length of the data.",
    });
  }
  return array;
}

function checkBuffer(where: string, buffer: ArrayBufferLike): void {
  const { resizable, growable } = buffer as { resizable?: boolean; growable?: boolean };
  if (resizable || growable) {
    throw new BlockscaleError("buffer", {
      where,
      expected: "a buffer of fixed length",
      got: "a resizable one",
      fix: "Copy the data first: array.slice().",
    });
  }
  if (buffer.byteLength > 0) return; // that of a detached one is 0
  try {
    new Uint8Array(buffer);
  } catch (error) {
    throw new BlockscaleError(
      "buffer",
      {
        where,
        expected: "an attached buffer",
        got: "a detached one (transferred to a worker, or of a grown WebAssembly memory)",
        fix: "Use the array before its buffer is transferred.",
      },
      { cause: error },
    );
  }
}

/** High-precision values as what they are in memory. */
export interface RawValues {
  readonly type: ValueType;
  readonly data: Float32Array | Uint16Array;
}

/** Checks {@link Values} and takes them out of their wrapping. */
export function checkValues(where: string, values: Values, length?: number): RawValues {
  const name = arrayName(values);
  if (name === "Float32Array")
    return { type: "f32", data: checkArray(where, values, "Float32Array", length) };
  if (name === "Float16Array") {
    const half = checkArray(where, values, "Float16Array", length);
    return { type: "f16", data: new Uint16Array(half.buffer, half.byteOffset, half.length) };
  }
  if (typeof values === "object" && values !== null && "bits" in values) {
    const { type, bits } = values;
    if (type === "bf16" || type === "f16")
      return { type, data: checkArray(where, bits, "Uint16Array", length) };
  }
  throw new BlockscaleError("buffer", {
    where,
    expected: "a Float32Array, a Float16Array, bf16(Uint16Array) or f16(Uint16Array)",
    got: kindOf(values),
    fix: "Say what 16-bit patterns mean with bf16() or f16().",
  });
}

/**
 * A block-scaled record whose fields were found to fit each other, and what follows from them. Its codes are
 * of any format: {@link Fp8Tensor} is one whose codes take a byte each.
 */
export interface CheckedTensor extends BlockScaled {
  /**
   * "ue8m0" for bytes, "f32" for float32. It means nothing beside a `tensorScale`, whose E4M3 bytes `asFp8`
   * turns into float32 multipliers.
   */
  readonly scaleType: "ue8m0" | "f32";
  readonly grid: Grid;
}

/** A checked record of E4M3 or E5M2 codes, as products take it: see `asFp8`. */
export interface Fp8Tensor extends CheckedTensor {
  readonly format: Fp8Format;
  readonly tensorScale?: undefined;
}

/**
 * A new array of the same element type; a subclass such as Node's
 * Buffer has ways of its own, and is not asked.
 */
export function arrayLike<T extends Uint8Array | Uint16Array | Float32Array>(values: T, length: number): T {
  const { BYTES_PER_ELEMENT: size } = values;
  const kind = size === 1 ? Uint8Array : size === 2 ? Uint16Array : Float32Array;
  return new kind(length) as T;
}

/**
 * Bytes of the codes of a tensor.
 * @throws BlockscaleError `shape`: packed codes whose rows, or blocks, would begin in the middle of a byte
 */
export function codeBytes(where: string, format: Format, { elements, cols, block }: Grid): number {
  const together = codesInWholeBytes(format);
  if (cols % together === 0 && (block[1] % together === 0 || block[1] >= cols))
    return bytesOfCodes(format, elements);
  throw new BlockscaleError("shape", {
    where: `${where}: shape`,
    expected: `columns, and columns of a block, in multiples of ${together}: that many ${format.toUpperCase()} codes fill whole bytes`,
    got: `${cols} columns in blocks of ${block[1]}`,
    fix: "Pad the rows with columns of zeros, or use an FP8 scheme.",
  });
}

function checkTensorScale(where: string, { format, tensorScale }: BlockScaled, isBytes: boolean): void {
  if (tensorScale === undefined) return;
  if (
    format === "e2m1" &&
    isBytes &&
    typeof tensorScale === "number" &&
    tensorScale >= 0 &&
    tensorScale < Infinity
  )
    return;
  throw new BlockscaleError("option", {
    where: `${where}: tensorScale`,
    expected: "a finite number from 0, beside E2M1 codes and E4M3 bytes as their scales",
    got: `${String(tensorScale)} beside ${format}`,
    fix: "Leave it out for scales that are UE8M0 or float32.",
  });
}

/** Checks every field of a block-scaled record against the others. */
export function checkTensor(where: string, tensor: BlockScaled): CheckedTensor {
  if (!isRecord(tensor)) {
    throw new BlockscaleError("option", {
      where: `${where}: tensor`,
      expected: "a block-scaled record { format, shape, block, codes, scales }",
      got: kindOf(tensor),
      fix: "Pass what quantize() returned, or a record of the same fields.",
    });
  }
  const { block, shape, tensorScale } = tensor;
  const format = checkFormat(`${where}: format`, tensor.format);
  const grid = gridOf(where, shape, block);
  const codes = checkArray(`${where}: codes`, tensor.codes, "Uint8Array", codeBytes(where, format, grid));
  const isBytes = arrayName(tensor.scales) !== "Float32Array";
  checkTensorScale(where, tensor, isBytes);
  const scales = checkArray(
    `${where}: scales`,
    tensor.scales,
    isBytes ? "Uint8Array" : "Float32Array",
    grid.blocks,
  );
  const checked = { format, shape, block, codes, scales, scaleType: scaleTypeOf(scales), grid };
  return tensorScale === undefined ? checked : { ...checked, tensorScale };
}

/**
 * Refuses an output that shares bytes with an input: chunks of it would be
 * written before all of the input is read.
 */
export function checkDisjoint(where: string, out: ArrayBufferView, input: ArrayBufferView): void {
  const overlap =
    out.buffer === input.buffer &&
    out.byteOffset < input.byteOffset + input.byteLength &&
    input.byteOffset < out.byteOffset + out.byteLength;
  if (!overlap) return;
  throw new BlockscaleError("buffer", {
    where,
    expected: "an output apart from the input",
    got: "one that shares memory with it",
    fix: "Use a separate array for the result.",
  });
}

/** The caller's output array, checked, or a new one. */
export function outArray<N extends NewName>(
  where: string,
  out: unknown,
  name: N,
  length: number,
): Checked<N> {
  return out === undefined ? newArray(where, name, length) : checkArray(where, out, name, length);
}

type NewName = "Float32Array" | "Uint8Array" | "Uint16Array";

/** Allocates a result, or says how large it would have been. */
export function newArray<N extends NewName>(where: string, name: N, length: number): Checked<N> {
  const Class = { Float32Array, Uint8Array, Uint16Array }[name];
  try {
    return new Class(length) as Checked<N>;
  } catch (error) {
    throw new BlockscaleError(
      "memory",
      {
        where,
        expected: `${length * Class.BYTES_PER_ELEMENT} bytes for the result`,
        got: "none from this host",
        fix: "Pass `out`, or convert the tensor in slices of rows.",
      },
      { cause: error },
    );
  }
}
