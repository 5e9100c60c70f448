import { type FormatId, VALUE_TYPE_ID, type ValueTypeId } from "../tensor/formats.ts";
import { fp8Of } from "./fp8.ts";
import { widen } from "./half.ts";
import type { ArrayMemory } from "./memory.ts";
import { floatOf } from "./scale.ts";

/** See `compare` of `Kernels`: whole vectors of sixteen first, then the rest. */
export function compare(
  memory: ArrayMemory,
  format: FormatId,
  type: ValueTypeId,
  sums: number,
  values: number,
  result: number,
  codes: number,
  groupSums: number,
  n: number,
): void {
  const whole = n & ~15;
  const size = type === VALUE_TYPE_ID.f32 ? 4 : 2;
  if (whole > 0) compareSpan(memory, format, type, sums, values, result, codes, groupSums, whole);
  if (n > whole) {
    const codesAt = codes === 0 ? 0 : codes + whole;
    const groupSumsAt = groupSums === 0 ? 0 : groupSums + whole;
    const left = [values + whole * size, result + 4 * whole, codesAt, groupSumsAt, n - whole] as const;
    compareSpan(memory, format, type, sums, ...left);
  }
}

function compareSpan(
  memory: ArrayMemory,
  format: FormatId,
  type: ValueTypeId,
  sums: number,
  values: number,
  result: number,
  codes: number,
  groupSums: number,
  n: number,
): void {
  const out = new Float64Array(memory.buffer, sums, 9);
  const sixteens = new Float64Array(memory.buffer, groupSums, groupSums === 0 ? 0 : 2 * Math.ceil(n / 16));
  const top = fp8Of(format).topCode;
  const isFloat = type === VALUE_TYPE_ID.f32;
  // Sums of x^2, (x - y)^2, y^2 and x * y, of all and of sixteen. Even and odd elements are apart, as in two
  // lanes.
  const all = new Float64Array(8);
  const own = new Float64Array(8);
  for (let start = 0; start < n; start += 16) {
    own.fill(0);
    for (let i = start; i < Math.min(n, start + 16); i++) {
      const x = isFloat
        ? memory.f32[(values >>> 2) + i]!
        : floatOf(widen(type, memory.u16[(values >>> 1) + i]!));
      const y = memory.f32[(result >>> 2) + i]!;
      const magnitude = Math.abs(x);
      const error = Math.abs(x - y);
      const lane = i & 1;
      own[lane]! += x * x;
      own[2 + lane]! += error * error;
      own[4 + lane]! += y * y;
      own[6 + lane]! += x * y;
      if (magnitude > out[4]!) out[4] = magnitude;
      if (error > out[5]!) out[5] = error;
      if (magnitude > 0 && error > out[6]! * magnitude) out[6] = error / magnitude;
      if (y === 0 && x !== 0) out[7]!++;
      if (codes !== 0 && (memory.u8[codes + i]! & 0x7f) === top && magnitude > Math.abs(y)) out[8]!++;
    }
    if (groupSums !== 0) sixteens.set([own[0]! + own[1]!, own[2]! + own[3]!], start >>> 3);
    for (let k = 0; k < 8; k++) all[k]! += own[k]!;
  }
  for (let k = 0; k < 4; k++) out[k]! += all[2 * k]! + all[2 * k + 1]!;
}
