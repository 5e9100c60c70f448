import type { Engine } from "../../engine/engine.ts";
import type { Precision } from "../../engine/precision.ts";
import { FORMATS, largestOf, scaleValues } from "../../tensor/formats.ts";
import type { Scheme } from "../../tensor/schemes.ts";
import type { BlockScaled } from "../../tensor/tensor.ts";
import { normalValues } from "../../train/initial-values.ts";
import { BRUSHES, COLS, ROWS, type Settings } from "./state.ts";

/** Values [ROWS, COLS] as the settings describe them. */
export function valuesOf({ matrix, seed, painted }: Settings): Float32Array {
  const values = new Float32Array(ROWS * COLS);
  if (matrix !== "zero") normalValues(values, 1, seed, 0);
  if (matrix === "heavy") {
    // A normal value over the root of a mean of three squared ones: Student's t with 3 degrees of freedom.
    const others = new Float32Array(3 * values.length);
    normalValues(others, 1, seed, 1);
    for (let i = 0; i < values.length; i++) {
      const [a, b, c] = others.subarray(3 * i, 3 * i + 3) as unknown as [number, number, number];
      values[i]! /= Math.sqrt((a * a + b * b + c * c) / 3);
    }
  }
  if (matrix === "outlier") values[(ROWS / 2 - 4) * COLS + 21] = 200000;
  for (const [cell, brush] of painted) values[cell] = BRUSHES[brush]!;
  return values;
}

/**
 * A matrix, its codes and scales, and its values after quantisation. Arrays are [ROWS, COLS], but there is
 * one scale for each block.
 */
export interface QuantizedMatrix {
  readonly values: Float32Array;
  readonly tensor: BlockScaled;
  /** One code a byte, also of E2M1 and E2M3. */
  readonly codes: Uint8Array;
  /** Values of the codes without their scales. */
  readonly elements: Float32Array;
  readonly scales: Float32Array;
  readonly dequantized: Float32Array;
  readonly precision: Precision;
  /** Blocks across. */
  readonly blockCols: number;
}

/** Quantises by the kernels and reads everything back by them. */
export function measure(engine: Engine, values: Float32Array, scheme: Scheme): QuantizedMatrix {
  const tensor = engine.quantize(values, [ROWS, COLS], scheme);
  const { codes, format, scales } = tensor;
  return {
    values,
    tensor,
    codes: unpacked(codes, FORMATS[format].codeBits, values.length),
    elements: engine.decode(codes, format).subarray(0, values.length),
    scales: scalesOf(engine, scales, tensor.tensorScale),
    dequantized: engine.dequantize(tensor),
    precision: engine.compare(values, tensor),
    blockCols: Math.ceil(COLS / scheme.block[1]),
  };
}

/** Codes of so many bits each, which lie one behind the other from the lowest bit on. */
function unpacked(bytes: Uint8Array, bits: number, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => {
    const at = i * bits;
    const two = bytes[at >> 3]! | (bytes[(at >> 3) + 1]! << 8);
    return (two >> (at & 7)) & (2 ** bits - 1);
  });
}

function scalesOf(
  engine: Engine,
  scales: Uint8Array | Float32Array,
  tensorScale: number | undefined,
): Float32Array {
  if (tensorScale === undefined) return scaleValues(scales);
  return engine.decode(scales as Uint8Array, "e4m3").map((scale) => Math.fround(scale * tensorScale));
}

export type Fate = "exact" | "rounded" | "saturated" | "flushed";

/** What happened to a cell. */
export function fateOf(found: QuantizedMatrix, cell: number): Fate {
  const [before, after] = [found.values[cell]!, found.dequantized[cell]!];
  if (before === after) return "exact";
  if (after === 0) return "flushed";
  const largest = largestOf(found.tensor.format) * found.scales[blockOf(found, cell)]!;
  return Math.abs(before) > largest ? "saturated" : "rounded";
}

/** The number of the block that a cell is in. */
export function blockOf({ tensor, blockCols }: QuantizedMatrix, cell: number): number {
  const [rows, cols] = tensor.block;
  return Math.floor(Math.floor(cell / COLS) / rows) * blockCols + Math.floor((cell % COLS) / cols);
}
