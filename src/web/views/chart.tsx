import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { appearance } from "../state/settings.ts";
import { words } from "../strings/index.ts";
import { type Colours, coloursOf } from "./colours.ts";

export interface ChartProps {
  /** What the chart shows, for those who do not see it. */
  readonly label: string;
  readonly height: number;
  readonly data: uPlot.AlignedData;
  /** The chart is made again when this changes, for example with another scale. */
  readonly redraw?: unknown;
  /** What the point under the pointer says. */
  pointed?(index: number): string;
  /** Called again when the colours or the language change. */
  options(colours: Colours): Omit<uPlot.Options, "width" | "height">;
}

/** A chart of uPlot that follows the width of its place and the colours of the page. */
export function Chart({ label, height, data, options, pointed, redraw }: ChartProps): JSX.Element {
  const [index, setIndex] = useState<number | null>(null);
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  useEffect(() => {
    const element = place.current!;
    plot.current = new uPlot(
      {
        ...options(coloursOf(element)),
        width: element.clientWidth,
        height,
        hooks: { setCursor: [({ cursor }) => setIndex(cursor.idx ?? null)] },
      },
      data,
      element,
    );
    const observer = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.current?.destroy();
    };
  }, [appearance.value, words.value, height, redraw]);
  useEffect(() => plot.current?.setData(data), [data]);
  return (
    <>
      <div class="chart" ref={place} role="img" aria-label={label} />
      {pointed !== undefined && (
        <p class="help pointed-line" aria-hidden="true">
          {index === null ? "\u00a0" : pointed(index)}
        </p>
      )}
    </>
  );
}

const FONT = "12px system-ui, sans-serif";

/** Steps between the numbers of an axis that counts. */
export const WHOLE_STEPS: number[] = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000,
];

/** An axis with quiet lines and words. */
export function axis(colours: Colours, more: uPlot.Axis = {}): uPlot.Axis {
  return {
    stroke: colours.text,
    font: FONT,
    ticks: { show: false },
    labelFont: FONT,
    labelSize: 22,
    gap: 6,
    ...more,
    grid: { stroke: colours.line, width: 1, ...more.grid },
  };
}
