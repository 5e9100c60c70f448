import type { Conversion } from "../../checkpoint/conversion.ts";
import { keepsCodes } from "../../checkpoint/keep-codes.ts";
import type { Plan } from "../../checkpoint/plan.ts";
import { stripsOf } from "../../checkpoint/strip.ts";
import { matrixOf } from "../../checkpoint/weights.ts";
import type { Source } from "../../io/source.ts";
import type { Pool } from "./pool.ts";

/** Bytes a second that copying, writing and reading back are taken to manage: what slow laptops do. */
const WRITE_RATE = 250e6;
const READ_RATE = 800e6;

/** Strips timed per worker, after one that warms it up. */
const TIMED = 2;

/** Seconds that a plan will take, from a few strips of it that are really converted. */
export async function estimateSeconds(plan: Plan, pool: Pool, sources: readonly Source[]): Promise<number> {
  const conversions = plan.files.flatMap(({ steps }) =>
    steps.flatMap((step) => (step.kind === "convert" ? [step.conversion] : [])),
  );
  const size = plan.files.reduce((n, file) => n + file.size, 0);
  const moving = size / WRITE_RATE + size / READ_RATE;
  const largest = conversions.reduce<Conversion | null>(
    (best, next) => (best === null || elementsOf(next) > elementsOf(best) ? next : best),
    null,
  );
  if (largest === null) return moving;
  const strips = [...stripsOf(largest)];
  const keep = await keepsCodes(largest, sources);
  const convert = (count: number) =>
    Promise.all(
      Array.from({ length: count }, (_, i) => pool.convert(largest, strips[i % strips.length]!, keep)),
    );
  await convert(pool.size);
  const start = performance.now();
  const count = pool.size * TIMED;
  await convert(count);
  const seconds = (performance.now() - start) / 1000;
  const elements =
    strips.slice(0, count).reduce((n, { rows }) => n + rows, 0) * matrixOf(largest.from.shape).cols;
  const perElement = seconds / ((elements / Math.min(count, strips.length)) * count);
  return conversions.reduce((n, conversion) => n + elementsOf(conversion), 0) * perElement + moving;
}

function elementsOf({ from }: Conversion): number {
  return from.shape.reduce((n, size) => n * size, 1);
}
