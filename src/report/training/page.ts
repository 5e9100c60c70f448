import { type Entry, type Figure, figure, htmlPage } from "../html-page.ts";
import { numberFormats } from "../numbers.ts";
import { html } from "../text.ts";
import { languages } from "../words.ts";
import { type RangeGrid, type TrainingCharts, trainingCharts } from "./charts.ts";
import type { TrainingReport } from "./report.ts";

const { locale, numbers, undrawn } = languages.en;
const words = {
  ...{ locale, numbers, undrawn },
  kind: "Training",
  steps: "Steps",
  loss: "Loss",
  lossNote: "Mean cross-entropy of the next token in nats, by steps.",
  training: "of batches",
  heldOut: "of held-out text",
  speed: "Tokens a second",
  speedNote: "Over the steps since the previous point.",
  flushed: "Values that became zero",
  flushedNote:
    "Share of the values of an operand that rounding turned into 0, by layer, since the previous step shown.",
  saturated: "Values cut to the largest code",
  saturatedNote: "Share of the values of an operand, by layer.",
  amax: "Largest magnitudes",
  amaxNote: "Before rounding, as powers of two: the stronger the colour, the larger.",
  operand: "Layer, operand",
};

/**
 * One page that opens offline: how a model learned, how fast, and what rounding did.
 * What its script draws is in tables as well.
 */
export function trainingPage(report: TrainingReport): string {
  const charts = trainingCharts(report);
  const figures = [lossFigure(charts), speedFigure(charts), ...rangeFigures(charts.ranges)];
  return htmlPage({
    kind: words.kind,
    names: [...report.texts, report.out],
    words,
    charts,
    summary: summaryOf(report),
    body: figures.map((one) => figure(one, words)),
  });
}

function summaryOf({ recipe, parameters, losses, validation }: TrainingReport): Entry[] {
  const { whole } = numberFormats(words.locale);
  const last = validation.at(-1)?.[1];
  return [
    ["Recipe", html(recipe)],
    ["Parameters", whole(parameters)],
    [words.steps, whole(losses.length)],
    ["Last loss", losses.at(-1)?.toFixed(4) ?? ""],
    ["Held-out loss", last?.toFixed(4) ?? ""],
    ["Bits a token", last === undefined ? "" : (last / Math.LN2).toFixed(3)],
  ];
}

function lossFigure({ loss: { steps, training, heldOut } }: TrainingCharts): Figure {
  const rows = steps.map((step, i) => [
    `${step}`,
    training[i]!.toFixed(4),
    heldOut[i] == null ? "" : heldOut[i].toFixed(4),
  ]);
  const keys = [words.training, words.heldOut];
  const table = { heads: [words.steps, ...keys], rows };
  return { id: "training", title: words.loss, notes: [words.lossNote], table, keys };
}

function speedFigure({ speed: { steps, rates } }: TrainingCharts): Figure {
  const rows = steps.map((step, i) => [`${step}`, `${rates[i]}`]);
  const table = { heads: [words.steps, words.speed], rows };
  return { id: "speed", title: words.speed, notes: [words.speedNote], table };
}

/** What rounding did, over time: shares in per cent, magnitudes as powers of two. */
function rangeFigures(ranges: RangeGrid | null): Figure[] {
  if (ranges === null) return [];
  const { steps, rows } = ranges;
  const make = (
    id: "flushed" | "saturated" | "amax",
    note: string,
    shown: (value: number) => string,
  ): Figure => ({
    id,
    title: words[id],
    notes: [note],
    table: {
      heads: [words.operand, ...steps.map((step) => `${step}`)],
      rows: rows.map((row, i) => [
        row,
        ...ranges[id][i]!.map((value) => (value === null ? "" : shown(value))),
      ]),
    },
  });
  const { percent } = numberFormats(words.locale);
  return [
    make("flushed", words.flushedNote, percent),
    make("saturated", words.saturatedNote, percent),
    make("amax", words.amaxNote, (log) => log.toFixed(1)),
  ];
}
