import type { Preparation, WeightConversion } from "../../checkpoint/plan/conversion.ts";
import { type Plan, writesCodes } from "../../checkpoint/plan/plan.ts";
import { type Strip, stripsOf } from "../../checkpoint/plan/strip.ts";
import { countOf, matrixOf, storedTensorsOf } from "../../checkpoint/read/weights.ts";
import { prepare } from "../../checkpoint/run/prepare.ts";
import type { Source } from "../../io/source.ts";
import type { StripPool } from "./pool.ts";

/** Assumed bytes a second of writing and of reading back: those of a slow laptop. */
const WRITE_RATE = 250e6;
const READ_RATE = 800e6;

/** How fast strips are converted: elements a second, and input bytes a second. */
export interface ConversionSpeed {
  readonly elementsPerSecond: number;
  readonly bytesPerSecond: number;
}

/** Strips to convert for a measurement: `warm` before the clock starts, `timed` while it runs. */
export interface Trial {
  readonly warm: number;
  readonly timed: number;
}

/**
 * Converts a few strips of the largest weights; `null` where there are none.
 * @param conversions of the plan, from one call of `conversionsOf`: each call makes new objects
 */
export async function measureSpeed(
  conversions: readonly WeightConversion[],
  pool: StripPool,
  sources: readonly Source[],
  { warm, timed }: Trial,
): Promise<ConversionSpeed | null> {
  const largest = [...conversions].sort((a, b) => elementsOf(b) - elementsOf(a));
  const strips = take(largest, warm + timed);
  if (strips.length === 0) return null;
  const kept = new Map<WeightConversion, Promise<Preparation>>();
  for (const [conversion] of strips) {
    if (!kept.has(conversion)) kept.set(conversion, prepare(conversion, sources, pool.convert));
  }
  const convert = (some: readonly StripOfWeight[]) =>
    Promise.all(
      some.map(async ([conversion, strip]) => pool.convert(conversion, strip, await kept.get(conversion)!)),
    );
  // Where there are too few strips, some are converted twice.
  const clocked = strips.length > warm ? strips.slice(warm) : strips;
  await convert(strips.slice(0, warm));
  const start = performance.now();
  await convert(clocked);
  const seconds = (performance.now() - start) / 1000;
  const elements = clocked.map(([{ from }, { rows }]) => rows * matrixOf(from.shape).cols);
  const bytes = clocked.map(
    ([conversion], i) => (elements[i]! / elementsOf(conversion)) * bytesRead(conversion),
  );
  return { elementsPerSecond: sum(elements) / seconds, bytesPerSecond: sum(bytes) / seconds };
}

/** Seconds that a plan will take where bytes come from a disk, which is faster than they are converted. */
export function secondsFromDisk(
  plan: Plan,
  conversions: readonly WeightConversion[],
  speed: ConversionSpeed | null,
): number {
  const elements = sum(conversions.map(elementsOf));
  return (speed === null ? 0 : elements / speed.elementsPerSecond) + secondsToWrite(plan);
}

/** Seconds that a plan takes where files come from a server, copied ones too. */
export function secondsFromServer(plan: Plan, speed: ConversionSpeed): number {
  let bytes = 0;
  for (const { steps } of plan.files) {
    for (const step of steps) {
      if (step.kind === "copy") bytes += step.from.end - step.from.start;
      else if (writesCodes(step)) bytes += bytesRead(step.conversion);
    }
  }
  return bytes / speed.bytesPerSecond + secondsToWrite(plan);
}

function secondsToWrite({ files }: Plan): number {
  const size = sum(files.map((file) => file.size));
  return size / WRITE_RATE + size / READ_RATE;
}

type StripOfWeight = readonly [conversion: WeightConversion, strip: Strip];

function take(conversions: readonly WeightConversion[], count: number): StripOfWeight[] {
  const units: StripOfWeight[] = [];
  for (const conversion of conversions) {
    for (const strip of stripsOf(conversion)) {
      if (units.length === count) return units;
      units.push([conversion, strip]);
    }
  }
  return units;
}

function elementsOf({ from }: WeightConversion): number {
  return countOf(from.shape);
}

function bytesRead({ from }: WeightConversion): number {
  return sum(storedTensorsOf(from).map(({ start, end }) => end - start));
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}
