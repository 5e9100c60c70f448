import type { Source } from "../io/source.ts";
import type { Conversion, ScaledTarget } from "./conversion.ts";
import { isPowerOfTwo, readScales, scaleCount } from "./scales.ts";
import { matrixOf, type ScaledWeight } from "./weights.ts";

/**
 * Whether codes can stay as they are when scaled becomes scaled: the element type is the same, each new block lies
 * inside one old block and so takes over its scale, and the new scales can hold the old ones. Only then is nothing lost;
 * otherwise values are quantised anew. A scale is never rounded under codes that stay.
 */
export async function keepsCodes({ from, into }: Conversion, sources: readonly Source[]): Promise<boolean> {
  if (from.kind !== "scaled" || into.kind !== "scaled" || !fits(from, into)) return false;
  if (into.scheme.scale === "f32" || from.scaleType === "ue8m0") return true;
  const scales = await readScales(from, sources, 0, scaleCount(from));
  return (scales as Float32Array).every(isPowerOfTwo);
}

function fits(from: ScaledWeight, { scheme }: ScaledTarget): boolean {
  const { rows, cols } = matrixOf(from.shape);
  const format = from.element === "e2m1" ? "e4m3" : from.element;
  const divides = (small: number, large: number, size: number) => large >= size || large % small === 0;
  return (
    format === scheme.format &&
    divides(scheme.block[0], from.block[0], rows) &&
    divides(scheme.block[1], from.block[1], cols)
  );
}

/**
 * Scales of new blocks, each that of the old block it lies in.
 * @param shape `[rows, cols]` of the strip, which starts at a row of blocks of both kinds
 */
export function spreadScales<S extends Uint8Array | Float32Array>(
  scales: S,
  [rows, cols]: readonly [number, number],
  from: readonly [number, number],
  into: readonly [number, number],
): S {
  const fromCols = Math.ceil(cols / from[1]);
  const intoRows = Math.ceil(rows / into[0]);
  const intoCols = Math.ceil(cols / into[1]);
  const spread = new (scales.constructor as new (length: number) => S)(intoRows * intoCols);
  for (let r = 0; r < intoRows; r++) {
    const row = Math.floor((r * into[0]) / from[0]) * fromCols;
    for (let c = 0; c < intoCols; c++) {
      spread[r * intoCols + c] = scales[row + Math.floor((c * into[1]) / from[1])]!;
    }
  }
  return spread;
}
