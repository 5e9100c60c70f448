import type uPlot from "uplot";
import { axis, type ChartTarget, plot } from "./plots.ts";

/** Height of a row of a heat map. */
const ROW = 18;

/** A table whose cells are drawn in colour. */
export interface HeatMap {
  readonly rows: readonly string[];
  /** How many columns there are, and their axis. */
  readonly columns: number;
  readonly axis: uPlot.Axis;
  /** Strength of a cell's colour, from 0 to 1; `null` where there is none. */
  strength(row: number, column: number): number | null;
  /** Whether a cell is framed. */
  isMarked(row: number, column: number): boolean;
  tell(row: number, column: number): string;
}

/** One cell for each row and column, the stronger in colour the higher its strength. */
export function heat(target: ChartTarget, { rows, columns, axis: columnAxis, ...map }: HeatMap): uPlot {
  const { colours } = target;
  const longest = rows.reduce((length, label) => Math.max(length, label.length), 0);
  const cell = (u: uPlot, row: number, column: number) => {
    const strength = map.strength(row, column);
    if (strength === null) return;
    const { ctx } = u;
    const left = Math.round(u.valToPos(column - 0.5, "x", true));
    const top = Math.round(u.valToPos(row - 0.5, "y", true));
    const width = Math.max(1, Math.round(u.valToPos(column + 0.5, "x", true)) - left - 1);
    const height = Math.max(1, Math.round(u.valToPos(row + 0.5, "y", true)) - top - 1);
    ctx.globalAlpha = 0.08 + 0.8 * strength;
    ctx.fillStyle = colours.accent;
    ctx.fillRect(left, top, width, height);
    if (!map.isMarked(row, column)) return;
    ctx.globalAlpha = 1;
    ctx.strokeStyle = colours.text;
    ctx.lineWidth = 2;
    ctx.strokeRect(left + 1, top + 1, width - 2, height - 2);
  };
  const cells = (u: uPlot) => {
    u.ctx.save();
    for (let row = 0; row < rows.length; row++)
      for (let column = 0; column < columns; column++) cell(u, row, column);
    u.ctx.restore();
  };
  const xs = Array.from({ length: columns }, (_, i) => i);
  return plot(target, [xs, xs.map(() => 0)], {
    height: 40 + ROW * rows.length,
    axes: [
      columnAxis,
      axis(target, {
        size: Math.min(16 + 6.5 * longest, 0.45 * target.width),
        grid: { show: false },
        splits: () => rows.map((_, i) => i),
        values: () => [...rows],
      }),
    ],
    series: [{ stroke: "transparent", width: 0, points: { show: false } }],
    scales: {
      x: { time: false, range: [-0.6, columns - 0.4] },
      y: { range: [-0.6, rows.length - 0.4], dir: -1 },
    },
    hooks: { draw: [cells] },
    tell: (column, u) => {
      const row = Math.round(u.posToVal(u.cursor.top ?? 0, "y"));
      return rows[row] === undefined ? "" : map.tell(row, column);
    },
  });
}
