import type { Source } from "../../io/source.ts";
import { isPowerOfTwo, readScales, scaleCount } from "../read/scales.ts";
import { ELEMENTS, matrixOf, type ScaledWeight } from "../read/weights.ts";
import type { ScaledTarget, WeightConversion } from "./conversion.ts";

/**
 * Whether codes can stay as they are when scaled becomes scaled: the element type is the same, each new block
 * lies inside one old block and so takes over its scale, and the new scales can hold the old ones. Only then
 * is nothing lost; otherwise values are quantised anew. A scale is never rounded under codes that stay.
 */
export async function keepsCodes(
  { from, into }: WeightConversion,
  sources: readonly Source[],
): Promise<boolean> {
  if (from.kind !== "scaled" || into.kind !== "scaled" || !fits(from, into)) return false;
  if (into.scheme.scale === "f32" || from.scaleType === "ue8m0") return true;
  const scales = await readScales(from, sources, 0, scaleCount(from));
  return (scales as Float32Array).every(isPowerOfTwo);
}

function fits(from: ScaledWeight, { scheme }: ScaledTarget): boolean {
  // A scale of NVFP4 is an E4M3 number and a float32, each rounded: other scales do not become such, and
  // values are quantised anew.
  if (scheme.scale === "e4m3") return false;
  const { rows, cols } = matrixOf(from.shape);
  const isSame = from.element === scheme.format;
  const { format, isFnuz } = ELEMENTS[from.element];
  const divides = (small: number, large: number, size: number) => large >= size || large % small === 0;
  return (
    (isSame || (format === scheme.format && !isFnuz)) &&
    divides(scheme.block[0], from.block[0], rows) &&
    divides(scheme.block[1], from.block[1], cols)
  );
}

/**
 * Scales of new blocks, row by row, each that of the old block it lies in.
 * @param shape of the strip, which starts at a row of blocks of both kinds
 */
export function spreadScales<S extends Uint8Array | Float32Array>(
  scales: S,
  shape: readonly number[],
  from: readonly [number, number],
  into: readonly [number, number],
): S {
  const { slices, rows, cols } = matrixOf(shape);
  const [fromRows, fromCols] = [Math.ceil(rows / from[0]), Math.ceil(cols / from[1])];
  const [intoRows, intoCols] = [Math.ceil(rows / into[0]), Math.ceil(cols / into[1])];
  const spread = new (scales.constructor as new (length: number) => S)(slices * intoRows * intoCols);
  for (let r = 0; r < slices * intoRows; r++) {
    const slice = Math.floor(r / intoRows);
    const row = slice * fromRows + Math.floor(((r % intoRows) * into[0]) / from[0]);
    for (let c = 0; c < intoCols; c++) {
      spread[r * intoCols + c] = scales[row * fromCols + Math.floor((c * into[1]) / from[1])]!;
    }
  }
  return spread;
}
