import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import type uPlot from "uplot";
import { sqnr } from "../../engine/precision.ts";
import { measured, planned, selected } from "../state/signals.ts";
import { decibels } from "../strings/format.ts";
import { words } from "../strings/index.ts";
import { axis, Chart, WHOLE_STEPS } from "./chart.tsx";
import type { Colours } from "./colours.ts";

/** Points to draw: about as many as there are pixels across. */
const MOST = 2000;

interface Point {
  readonly name: string;
  readonly db: number;
}

/**
 * SQNR of every tensor measured so far: one point each, or where there are too many, the lowest of several.
 */
export function SqnrSection(): JSX.Element | null {
  const { precision } = words.value;
  const points = useMemo(pointsOf, [planned.value, measured.value]);
  const each = Math.ceil(points.length / MOST);
  const data = useMemo(() => lowestOf(points, each), [points]);
  if (points.length === 0) return null;
  const worst = points.reduce((a, b) => (b.db < a.db ? b : a));
  return (
    <section class="sqnr-section" aria-labelledby="sqnr-heading">
      <div class="section-head">
        <h2 id="sqnr-heading">{precision.heading}</h2>
        <p class="help">
          {precision.perTensor} (dB){each > 1 && precision.lowestOf(each)}
        </p>
      </div>
      <Chart
        label={`${precision.perTensor}: ${points.length}; ${words.value.done.worst} ${decibels(worst.db)}`}
        height={180}
        data={data}
        options={optionsOf}
      />
      <p class="help">
        {words.value.done.worst + words.value.colon}
        <b>{decibels(worst.db)}</b>{" "}
        <button
          type="button"
          class="link"
          onClick={() => {
            selected.value = worst.name;
          }}
        >
          {worst.name}
        </button>
      </p>
    </section>
  );
}

/** Tensors that were measured, in the order of the table, and their SQNR in decibels. */
function pointsOf(): Point[] {
  return (planned.value?.tensors ?? []).flatMap(({ name }) => {
    const figures = measured.value.get(name);
    const db = figures === undefined ? NaN : sqnr(figures);
    // What is exact, or not finite, has no point to draw: the table tells it.
    return Number.isFinite(db) ? [{ name, db }] : [];
  });
}

/** The lowest of each so many points, at the number of the first of them, from 1. */
function lowestOf(points: readonly Point[], each: number): uPlot.AlignedData {
  const lowest: number[] = [];
  for (const [i, { db }] of points.entries()) {
    const at = Math.floor(i / each);
    lowest[at] = Math.min(lowest[at] ?? Infinity, db);
  }
  return [lowest.map((_, i) => i * each + 1), lowest];
}

const optionsOf = (colours: Colours) => ({
  legend: { show: false },
  cursor: { y: false, points: { size: 9 }, drag: { x: false, y: false } },
  scales: {
    x: { time: false },
    y: {
      range: (_: uPlot, min: number, max: number): [number, number] => [
        Math.floor(min - 1),
        Math.ceil(max + 1),
      ],
    },
  },
  axes: [
    axis(colours, { grid: { show: false }, size: 28, incrs: WHOLE_STEPS }),
    axis(colours, { size: 44, values: (_: uPlot, ticks: number[]) => ticks.map((tick) => `${tick}`) }),
  ],
  series: [
    {},
    { stroke: colours.accent, width: 0, points: { show: true, size: 5, width: 0, fill: colours.accent } },
  ],
});
