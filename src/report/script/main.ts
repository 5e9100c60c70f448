// The script of a report's page: draws the charts, sorts the table. Runs from a file, without a server.
import type uPlot from "uplot";
import type { Charts } from "../charts.ts";
import type { EvaluationCharts } from "../evaluation/charts.ts";
import type { TrainingCharts } from "../training/charts.ts";
import { drawCurve, drawHeat, drawLosses, drawPositions } from "./evaluation.ts";
import {
  type ChartTarget,
  coloursOf,
  drawErrors,
  drawExponents,
  drawLayers,
  drawSqnr,
  drawValues,
} from "./plots.ts";
import { makeSortable } from "./sorting.ts";
import { drawAmax, drawFlushed, drawSaturated, drawSpeed, drawTraining } from "./training.ts";

/** Data of the charts of a conversion, an evaluation or a training run: a page has one of the three. */
const charts = JSON.parse(document.getElementById("charts")!.textContent!) as Charts &
  EvaluationCharts &
  TrainingCharts;

const DRAWERS: Readonly<Record<string, (data: typeof charts, target: ChartTarget) => uPlot>> = {
  sqnr: drawSqnr,
  exponents: drawExponents,
  layers: drawLayers,
  errors: drawErrors,
  values: drawValues,
  curve: drawCurve,
  heat: drawHeat,
  positions: drawPositions,
  losses: drawLosses,
  training: drawTraining,
  speed: drawSpeed,
  flushed: drawFlushed,
  saturated: drawSaturated,
  amax: drawAmax,
};

let drawn: uPlot[] = [];

/** Draws all charts again, with the current colours and width. */
function draw(): void {
  for (const plot of drawn) plot.destroy();
  drawn = Object.entries(DRAWERS).flatMap(([id, drawer]) => {
    const figure = document.getElementById(id);
    const element = figure?.querySelector<HTMLElement>(".plot");
    if (!figure || !element) return [];
    return [
      drawer(charts, {
        element,
        readout: figure.querySelector(".readout")!,
        width: element.clientWidth,
        colours: coloursOf(element),
      }),
    ];
  });
}

const root = document.documentElement;
root.classList.add("drawn");
draw();

let width = root.clientWidth;
addEventListener("resize", () => {
  if (root.clientWidth === width) return;
  width = root.clientWidth;
  draw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
// For printing: dark on white, and as wide as the paper.
addEventListener("beforeprint", () => {
  root.classList.add("print");
  draw();
});
addEventListener("afterprint", () => {
  root.classList.remove("print");
  draw();
});

for (const table of document.querySelectorAll<HTMLTableElement>("table.sortable")) makeSortable(table);
for (const note of document.querySelectorAll<HTMLElement>(".sorting")) note.hidden = false;
