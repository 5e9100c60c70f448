import { BlockscaleError, shown } from "./errors.ts";
import { FORMATS, type Format } from "./formats.ts";

export type { Format, Fp8Format } from "./formats.ts";

/** An element type of high-precision values. */
export type ValueType = "f32" | "bf16" | "f16";

/**
 * A block-scaled tensor: a plain record that can be structured-cloned and transferred.
 * Element `[i, j]` of a slice is `decode(codes[i, j]) * scale[floor(i / block[0]), floor(j / block[1])]`.
 */
export interface BlockScaled {
  readonly format: Format;
  /** `[..., rows, cols]`; every leading slice is tiled by itself. */
  readonly shape: readonly number[];
  /** `[rows, cols]` of one block. */
  readonly block: readonly [number, number];
  /**
   * One code per element, row-major; of E2M1 two to a byte, of E2M3 four to three bytes, the first lowest.
   */
  readonly codes: Uint8Array;
  /**
   * One scale per block, row-major `[..., ceil(rows / block[0]), ceil(cols / block[1])]`:
   * UE8M0 bytes (2^(byte - 127), 0xFF is NaN) or float32 multipliers.
   */
  readonly scales: Uint8Array | Float32Array;
  /**
   * NVFP4: where it is given, the bytes of `scales` are E4M3 codes, and each is multiplied by this float32,
   * rounded once. Left out, bytes are UE8M0.
   */
  readonly tensorScale?: number;
}

/** Two-byte values as bits, tagged with what the bits mean. Made by `bf16` and `f16`. */
export interface HalfValues {
  readonly type: "bf16" | "f16";
  readonly bits: Uint16Array;
}

/** `Float16Array` where the platform's types know it (Node 24, browsers of 2025). */
export type Float16Values = typeof globalThis extends { Float16Array: { prototype: infer T } } ? T : never;

/** High-precision values as the engine takes them. */
export type Values = Float32Array | Float16Values | HalfValues;

/** The most elements a tensor may have: the range in which every byte offset is far below 2^53. */
const MAX_ELEMENTS: number = 2 ** 32;

/** A shape and a block, resolved into counts. */
export interface Grid {
  /** Product of the leading dimensions. */
  readonly slices: number;
  /** Rows and columns of one slice. */
  readonly rows: number;
  readonly cols: number;
  /** The block cut to the size of a slice, which changes nothing but keeps its area small. */
  readonly block: readonly [number, number];
  /** Blocks down and across one slice. */
  readonly gridRows: number;
  readonly gridCols: number;
  /** Elements and blocks of the whole tensor. */
  readonly elements: number;
  readonly blocks: number;
}

/**
 * Counts the elements and blocks of a tensor; a 1-D shape is one row, `[]` is one element.
 * @throws BlockscaleError `shape`: negative or fractional sizes, no block, or more than 2^32 elements.
 */
export function gridOf(where: string, shape: readonly number[], block: readonly [number, number]): Grid {
  if (!Array.isArray(shape) || shape.length > 32) {
    throw new BlockscaleError("shape", {
      where: `${where}: shape`,
      expected: "an array of at most 32 sizes",
      got: Array.isArray(shape) ? `${shape.length} sizes` : String(shape),
      fix: "Pass the shape as [rows, cols], with leading dimensions in front.",
    });
  }
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 0) {
      throw new BlockscaleError("shape", {
        where: `${where}: shape`,
        expected: "whole numbers from 0",
        got: `[${shape.join(", ")}]`,
        fix: "Pass the shape as [rows, cols], with leading dimensions in front.",
      });
    }
  }
  if (
    !Array.isArray(block) ||
    block.length !== 2 ||
    !block.every((n) => Number.isSafeInteger(n) && n >= 1 && n <= 2 ** 31 - 1)
  ) {
    throw new BlockscaleError("shape", {
      where: `${where}: block`,
      expected: "[rows, cols], each a whole number from 1 to 2^31 - 1",
      got: Array.isArray(block) ? `[${block.join(", ")}]` : typeof block,
      fix: "Use the block of a scheme, such as [1, 32] or [128, 128].",
    });
  }
  const rows = shape.length < 2 ? 1 : (shape[shape.length - 2] as number);
  const cols = shape.length === 0 ? 1 : (shape[shape.length - 1] as number);
  const slices = shape.slice(0, -2).reduce((n, size) => n * size, 1);
  // The sizes are multiplied before any zero can hide an absurd one: [2^40, 0] is refused as well.
  const widest = shape.reduce((n, size) => n * Math.max(1, size), 1);
  if (widest > MAX_ELEMENTS) {
    throw new BlockscaleError("shape", {
      where: `${where}: shape`,
      expected: "at most 2^32 elements",
      got: `[${shape.join(", ")}]`,
      fix: "Convert the tensor in slices of rows.",
    });
  }
  const gridRows = Math.ceil(rows / block[0]);
  const gridCols = Math.ceil(cols / block[1]);
  return {
    slices,
    rows,
    cols,
    block: [Math.min(block[0], Math.max(1, rows)), Math.min(block[1], Math.max(1, cols))],
    gridRows,
    gridCols,
    elements: slices * rows * cols,
    blocks: slices * gridRows * gridCols,
  };
}

/** @throws BlockscaleError `option`: not the name of an element format. */
export function checkFormat(where: string, format: Format): Format {
  if (typeof format === "string" && Object.hasOwn(FORMATS, format)) return format;
  throw new BlockscaleError("option", {
    where,
    expected: `one of ${Object.keys(FORMATS)
      .map((name) => JSON.stringify(name))
      .join(", ")}`,
    got: shown(format),
    fix: "Name the element format of the codes.",
  });
}
