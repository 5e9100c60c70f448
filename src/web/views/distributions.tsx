import type { ComponentChildren, JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import uPlot from "uplot";
import {
  BINADES,
  ERROR_BINS,
  errorHistogram,
  FIRST_BINADE,
  type Sample,
} from "../../checkpoint/measure/sample.ts";
import { power, short, whole } from "../strings/format.ts";
import { words } from "../strings/index.ts";
import { axis, Chart } from "./chart.tsx";
import type { Colours } from "./colours.ts";

/** What no chart here has: a legend of its own, points, and zooming. */
const PLAIN = {
  legend: { show: false },
  cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
} satisfies Partial<uPlot.Options>;

/** The range of an axis of counts: from zero to a little above the largest one. */
const fromZero = (_: uPlot, __: number, max: number): [number, number] => [0, Math.max(1, max * 1.05)];

/** The range of a logarithmic axis of counts, where a single value can still be seen. */
const fromHalf = (_: uPlot, __: number, max: number): [number, number] => [0.5, Math.max(2, 2 * max)];

const countAxis = (colours: Colours): uPlot.Axis =>
  axis(colours, {
    size: 52,
    values: (_: uPlot, ticks: number[]) => ticks.map((tick) => short(tick)),
    label: words.value.precision.axisCount,
  });

/** Values by power of two, before and after. */
export function ValueChart({
  sample,
  hasAfter,
}: {
  readonly sample: Sample;
  readonly hasAfter: boolean;
}): JSX.Element {
  const { precision: text } = words.value;
  const [isLog, setLog] = useState(false);
  const { binades, data } = useMemo(() => binadesOf(sample, hasAfter), [sample, hasAfter]);
  const heads = hasAfter ? [text.binade, text.before, text.after] : [text.binade, text.count];
  return (
    <ChartFigure title={hasAfter ? text.values : text.valuesNow} note={text.valuesNote} keys={hasAfter}>
      <Chart
        label={`${text.values}: ${power(binades[0]!)} – ${power(binades.at(-1)!)}`}
        height={260}
        data={data}
        options={(colours) => valueOptions(colours, isLog, hasAfter)}
        redraw={isLog}
        pointed={(i) =>
          `${power(binades[i]!)}: ${[...data.slice(1)].map((series) => whole(series[i]!)).join(" → ")}`
        }
      />
      <label class="check">
        <input type="checkbox" checked={isLog} onChange={(event) => setLog(event.currentTarget.checked)} />
        {text.logarithmic}
      </label>
      <DataTable
        heads={heads}
        rows={binades.map((binade, i) => [
          power(binade),
          ...data.slice(1).map((series) => whole(series[i]!)),
        ])}
      />
    </ChartFigure>
  );
}

/** The powers of two to draw, and how many values each has before and, if wanted, after. */
function binadesOf(sample: Sample, hasAfter: boolean): { binades: number[]; data: uPlot.AlignedData } {
  // Each smaller power of two holds about half as many values: counts too small to be seen are not drawn.
  const least = Math.max(1, sample.precision.count / 100_000);
  const used = Array.from({ length: BINADES }, (_, i) => i).filter(
    (i) => sample.before[i]! >= least || sample.after[i]! >= least,
  );
  // A single bar gets room on both sides, so that it stands in the middle of the axis.
  const room = used.length < 2 ? 2 : 0;
  const first = Math.max(0, (used[0] ?? 0) - room);
  const last = Math.min(BINADES - 1, (used.at(-1) ?? 0) + room);
  const binades = Array.from({ length: last - first + 1 }, (_, i) => FIRST_BINADE + first + i);
  const data: uPlot.AlignedData = [
    binades,
    sample.before.slice(first, last + 1),
    ...(hasAfter ? [sample.after.slice(first, last + 1)] : []),
  ];
  return { binades, data };
}

/** Wide bars for the values before, and narrow ones in front of them for those after. */
function valueOptions(colours: Colours, isLog: boolean, hasAfter: boolean) {
  const bars = uPlot.paths.bars!;
  const before = {
    stroke: colours.muted,
    fill: colours.mutedFaint,
    width: 1,
    paths: bars({ size: [0.9, 60] }),
    points: { show: false },
  };
  const after = {
    stroke: colours.accent,
    fill: colours.accentFaint,
    width: 1.5,
    paths: bars({ size: [0.5, 40] }),
    points: { show: false },
  };
  return {
    ...PLAIN,
    scales: {
      x: {
        time: false,
        range: (_: uPlot, min: number, max: number): [number, number] => [min - 0.7, max + 0.7],
      },
      y: isLog ? { distr: 3 as const, range: fromHalf } : { range: fromZero },
    },
    axes: [
      axis(colours, {
        grid: { show: false },
        size: 30,
        label: words.value.precision.axisBinade,
        incrs: [1, 2, 4, 8],
        values: (_: uPlot, ticks: number[]) => ticks.map((tick) => power(tick)),
      }),
      countAxis(colours),
    ],
    series: hasAfter ? [{}, before, after] : [{}, before],
  };
}

/** Errors relative to the value. */
export function ErrorChart({ sample }: { readonly sample: Sample }): JSX.Element {
  const { precision: text, colon } = words.value;
  const { percents, errors } = useMemo(() => {
    const { range, counts } = errorHistogram(sample);
    const centre = (i: number) => (((i + 0.5) / ERROR_BINS) * 2 - 1) * range * 100;
    return { percents: counts.map((_, i) => centre(i)), errors: counts };
  }, [sample]);
  const data = useMemo<uPlot.AlignedData>(() => [percents, [...errors]], [percents, errors]);
  const { saturated, flushed } = sample.precision;
  const options = (colours: Colours) => ({
    ...PLAIN,
    scales: { x: { time: false }, y: { range: fromZero } },
    axes: [
      axis(colours, {
        grid: { show: false },
        size: 30,
        label: text.axisError,
        values: (_: uPlot, ticks: number[]) => ticks.map((tick) => `${tick}%`),
      }),
      countAxis(colours),
    ],
    series: [
      {},
      {
        stroke: colours.accent,
        fill: colours.accent,
        width: 0,
        points: { show: false },
        paths: uPlot.paths.bars!({ size: [0.8, 20] }),
      },
    ],
  });
  return (
    <ChartFigure title={text.errors} note={text.errorsNote} keys={false}>
      <Chart
        label={`${text.errors}: ${text.errorsNote}`}
        height={260}
        data={data}
        options={options}
        pointed={(i) => `${percents[i]!.toPrecision(3)}%${colon}${whole(errors[i]!)}`}
      />
      <p class="help">
        {text.saturated + colon}
        <b>{whole(saturated)}</b> · {text.flushed + colon}
        <b>{whole(flushed)}</b>
      </p>
      <DataTable
        heads={["%", text.count]}
        rows={errors.map((count, i) => [percents[i]!.toPrecision(3), whole(count)])}
      />
    </ChartFigure>
  );
}

interface FigureProps {
  readonly title: string;
  readonly note: string;
  /** Whether there is a legend of before and after. */
  readonly keys: boolean;
  readonly children: ComponentChildren;
}

export function ChartFigure({ title, note, keys, children }: FigureProps): JSX.Element {
  const { precision: text } = words.value;
  return (
    <figure class="panel">
      <figcaption>
        <h3>{title}</h3>
        <p class="help">{note}</p>
        {keys && (
          <p class="keys-line">
            <i class="key before" aria-hidden="true" />
            {text.before}
            <i class="key after" aria-hidden="true" />
            {text.after}
          </p>
        )}
      </figcaption>
      {children}
    </figure>
  );
}

/** The numbers of the picture as a table, for those who do not see it or want them exactly. */
function DataTable({
  heads,
  rows,
}: {
  readonly heads: readonly string[];
  readonly rows: readonly (readonly string[])[];
}): JSX.Element {
  return (
    <details class="data">
      <summary>{words.value.precision.table}</summary>
      <table>
        <thead>
          <tr>
            {heads.map((head) => (
              <th key={head} scope="col">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(([first, ...others]) => (
            <tr key={first}>
              <th scope="row">{first}</th>
              {others.map((value, i) => (
                <td key={heads[i + 1]}>{value}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}
