import { type FormatId, VALUE_TYPE_ID, type ValueTypeId } from "../tensor/formats.ts";
import { fp8Of } from "./fp8.ts";
import { widen } from "./half.ts";
import type { ArrayMemory } from "./memory.ts";
import { floatOf } from "./scale.ts";

/**
 * Adds what the interface says to the nine float64 at `sums`: whole vectors of sixteen first, then the rest.
 */
export function compare(
  memory: ArrayMemory,
  format: FormatId,
  type: ValueTypeId,
  sums: number,
  values: number,
  became: number,
  codes: number,
  n: number,
): void {
  const whole = n & ~15;
  const size = type === VALUE_TYPE_ID.f32 ? 4 : 2;
  if (whole > 0) compareSpan(memory, format, type, sums, values, became, codes, whole);
  if (n > whole) {
    const codesAt = codes === 0 ? 0 : codes + whole;
    compareSpan(memory, format, type, sums, values + whole * size, became + 4 * whole, codesAt, n - whole);
  }
}

function compareSpan(
  memory: ArrayMemory,
  format: FormatId,
  type: ValueTypeId,
  sums: number,
  values: number,
  became: number,
  codes: number,
  n: number,
): void {
  const out = new Float64Array(memory.buffer, sums, 9);
  const top = fp8Of(format).topCode;
  const isFloat = type === VALUE_TYPE_ID.f32;
  // Even and odd elements apart, as in two lanes.
  const signal = [0, 0];
  const noise = [0, 0];
  const energy = [0, 0];
  const product = [0, 0];
  for (let i = 0; i < n; i++) {
    const x = isFloat
      ? memory.f32[(values >>> 2) + i]!
      : floatOf(widen(type, memory.u16[(values >>> 1) + i]!));
    const y = memory.f32[(became >>> 2) + i]!;
    const magnitude = Math.abs(x);
    const error = Math.abs(x - y);
    const lane = i & 1;
    signal[lane]! += x * x;
    noise[lane]! += error * error;
    energy[lane]! += y * y;
    product[lane]! += x * y;
    if (magnitude > out[4]!) out[4] = magnitude;
    if (error > out[5]!) out[5] = error;
    if (magnitude > 0 && error > out[6]! * magnitude) out[6] = error / magnitude;
    if (y === 0 && x !== 0) out[7]!++;
    if (codes !== 0 && (memory.u8[codes + i]! & 0x7f) === top && magnitude > Math.abs(y)) out[8]!++;
  }
  out[0]! += signal[0]! + signal[1]!;
  out[1]! += noise[0]! + noise[1]!;
  out[2]! += energy[0]! + energy[1]!;
  out[3]! += product[0]! + product[1]!;
}
