import { floatsOf } from "../js/half.ts";
import type { RawValues } from "../tensor/checks.ts";
import { largestOf, type SubByteFormat, scaleValues } from "../tensor/formats.ts";
import { codesOfBits, e4m3CodeOf, multipliersOf } from "../tensor/sub-byte.ts";
import type { BlockScaled } from "../tensor/tensor.ts";

/** How many values are beyond the largest one that their block can hold, and were cut to it. */
export function saturatedIn(
  given: RawValues,
  tensor: BlockScaled & { readonly format: SubByteFormat },
): number {
  const values = floatsOf(given);
  const { format, scales, shape, block, tensorScale } = tensor;
  const multipliers =
    tensorScale !== undefined ? multipliersOf(scales as Uint8Array, tensorScale) : scaleValues(scales);
  const cols = shape.at(-1) ?? 1;
  const rows = shape.at(-2) ?? 1;
  const [gridRows, gridCols] = [Math.ceil(rows / block[0]), Math.ceil(cols / block[1])];
  const codes = codesOfBits(format, tensor.codes);
  const largest = largestOf(format);
  const largestCode = e4m3CodeOf(largest);
  let count = 0;
  for (let i = 0; i < values.length; i++) {
    if ((codes[i]! & 0x7f) !== largestCode) continue;
    const row = Math.floor(i / cols);
    const scaleRow = Math.floor(row / rows) * gridRows + Math.floor((row % rows) / block[0]);
    const scale = multipliers[scaleRow * gridCols + Math.floor((i % cols) / block[1])]!;
    if (Math.abs(values[i]!) > largest * scale) count++;
  }
  return count;
}
