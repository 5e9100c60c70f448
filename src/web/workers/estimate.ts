import type { Conversion, Preparation } from "../../checkpoint/plan/conversion.ts";
import { conversionsOf, type Plan, type Step } from "../../checkpoint/plan/plan.ts";
import { type Strip, stripsOf } from "../../checkpoint/plan/strip.ts";
import { countOf, matrixOf, placesOfWeight } from "../../checkpoint/read/weights.ts";
import { prepare } from "../../checkpoint/run/prepare.ts";
import type { Source } from "../../io/source.ts";
import type { Pool } from "./pool.ts";

/** Assumed bytes a second of writing and of reading back: those of a slow laptop. */
const WRITE_RATE = 250e6;
const READ_RATE = 800e6;

/** How fast strips are converted: elements a second, and input bytes a second. */
export interface Speed {
  readonly elements: number;
  readonly bytes: number;
}

/** Strips to convert for a measurement: `warm` before the clock starts, `timed` while it runs. */
export interface Trial {
  readonly warm: number;
  readonly timed: number;
}

/** Converts a few strips of a plan, of its largest weights; `null` where it converts nothing. */
export async function measureSpeed(
  plan: Plan,
  pool: Pool,
  sources: readonly Source[],
  { warm, timed }: Trial,
): Promise<Speed | null> {
  const largest = conversionsOf(plan).sort((a, b) => elementsOf(b) - elementsOf(a));
  const strips = take(largest, warm + timed);
  if (strips.length === 0) return null;
  const kept = new Map<Conversion, Promise<Preparation>>();
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
  return { elements: sum(elements) / seconds, bytes: sum(bytes) / seconds };
}

/** Seconds that a plan will take where bytes come from a disk, which is faster than they are converted. */
export function secondsFromDisk(plan: Plan, speed: Speed | null): number {
  const elements = sum(conversionsOf(plan).map(elementsOf));
  return (speed === null ? 0 : elements / speed.elements) + secondsToWrite(plan);
}

/** Seconds that a plan takes where files come from a server, copied ones too. */
export function secondsFromServer(plan: Plan, speed: Speed): number {
  const copied = stepsOf(plan).map((step) => (step.kind === "copy" ? step.from.end - step.from.start : 0));
  const bytes = sum(copied) + sum(conversionsOf(plan).map(bytesRead));
  return bytes / speed.bytes + secondsToWrite(plan);
}

function secondsToWrite({ files }: Plan): number {
  const size = sum(files.map((file) => file.size));
  return size / WRITE_RATE + size / READ_RATE;
}

type StripOfWeight = readonly [conversion: Conversion, strip: Strip];

function take(conversions: readonly Conversion[], count: number): StripOfWeight[] {
  const units: StripOfWeight[] = [];
  for (const conversion of conversions) {
    for (const strip of stripsOf(conversion)) {
      if (units.length === count) return units;
      units.push([conversion, strip]);
    }
  }
  return units;
}

function stepsOf({ files }: Plan): Step[] {
  return files.flatMap(({ steps }) => [...steps]);
}

function elementsOf({ from }: Conversion): number {
  return countOf(from.shape);
}

function bytesRead({ from }: Conversion): number {
  return sum(placesOfWeight(from).map(({ start, end }) => end - start));
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}
