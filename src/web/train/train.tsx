import type { JSX } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import type uPlot from "uplot";
import type { RecipeName } from "../../train/recipes.ts";
import { CardButtons } from "../card/card-buttons.tsx";
import type { CardContent } from "../card/content.ts";
import { query, setAddress } from "../state/address.ts";
import { smallPercent } from "../strings/format.ts";
import { translated } from "../strings/index.ts";
import { axis, Chart, type ChartProps, WHOLE_STEPS } from "../views/chart.tsx";
import { Choice } from "../views/choice.tsx";
import type { Colours } from "../views/colours.ts";
import { FigureRows } from "../views/figure-rows.tsx";
import { TextArea } from "../views/text-area.tsx";
import {
  failure,
  RECIPES,
  resumeTraining,
  runForm,
  STANDARD,
  sample,
  save,
  start,
  steps,
  stop,
  TEXTS,
  trainingForm,
  trainingStage,
} from "./state.ts";
import { words } from "./words.ts";

/** Training in the tab: settings, curves, and what the model writes. */
export function Train(): JSX.Element {
  const text = words.value;
  useEffect(() => {
    const params = query();
    const [wanted, recipe, count] = [params.get("text"), params.get("recipe"), Number(params.get("steps"))];
    if (trainingStage.value !== "idle") return;
    trainingForm.value = {
      ...trainingForm.value,
      ...(wanted !== null && TEXTS.includes(wanted as "own") && { text: wanted as "own" }),
      ...(recipe !== null && RECIPES.includes(recipe as RecipeName) && { recipe: recipe as RecipeName }),
      ...(Number.isInteger(count) && count >= 1 && count <= 5000 && { steps: count }),
    };
  }, []);
  useEffect(() => {
    const { text: chosen, recipe, steps: count } = trainingForm.value;
    const fields = { text: chosen, recipe, steps: String(count) };
    const standard: Record<string, unknown> = { ...STANDARD, steps: String(STANDARD.steps) };
    setAddress(
      "train",
      Object.fromEntries(Object.entries(fields).filter(([name, value]) => standard[name] !== value)),
    );
  }, [trainingForm.value]);
  return (
    <div class="view train">
      <header class="view-heading">
        <h1>{text.heading}</h1>
        <p class="lead">{text.lead}</p>
      </header>
      <Settings />
      {failure.value !== null && (
        <div class="note bad" role="alert">
          <div class="problem">
            <strong>{text.failed}</strong>
            <p class="message">{translated(failure.value)}</p>
          </div>
        </div>
      )}
      <Curves />
      {sample.value !== null && (
        <section class="sample">
          <h2>{text.sample(sample.value.step)}</h2>
          <pre data-testid="sample">{sample.value.text}</pre>
        </section>
      )}
    </div>
  );
}

function Settings(): JSX.Element {
  const text = words.value;
  const { text: chosen, own, recipe, steps: count } = trainingForm.value;
  const change = (fields: Partial<typeof trainingForm.value>) => {
    trainingForm.value = { ...trainingForm.value, ...fields };
  };
  const isGoing = trainingStage.value === "going";
  return (
    <form
      class="controls"
      aria-label={text.settings}
      onSubmit={(event) => {
        event.preventDefault();
        start();
      }}
    >
      <Choice
        id="train-text"
        label={text.text.label}
        value={chosen}
        disabled={isGoing}
        options={TEXTS.map((one) => [one, text.text[one]])}
        onChange={(value) => change({ text: value })}
      />
      <Choice
        id="train-recipe"
        label={text.recipe}
        value={recipe}
        disabled={isGoing}
        options={RECIPES.map((one) => [one, one])}
        onChange={(value) => change({ recipe: value })}
      />
      <Choice
        id="train-steps"
        label={text.steps}
        value={String(count)}
        disabled={isGoing}
        options={[...new Set([50, 200, 500, 2000, count])].map((one) => [String(one), String(one)])}
        onChange={(value) => change({ steps: Number(value) })}
      />
      {chosen === "own" && (
        <TextArea
          id="train-own"
          label={text.own}
          rows={6}
          value={own}
          onInput={(value) => change({ own: value })}
        />
      )}
      <div class="row buttons">
        <Buttons />
        <p class="help" role="status" data-testid="progress">
          {steps.value.length > 0 && text.progress(steps.value.length, runForm.value.steps)}
          {trainingStage.value === "ended" && ` · ${text.ended}`}
        </p>
      </div>
    </form>
  );
}

function Buttons(): JSX.Element {
  const text = words.value;
  if (trainingStage.value === "going")
    return (
      <button type="button" onClick={stop}>
        {text.stop}
      </button>
    );
  return (
    <>
      {trainingStage.value === "stopped" && (
        <button type="button" class="primary" onClick={resumeTraining}>
          {text.go}
        </button>
      )}
      <button type="submit" class={trainingStage.value === "stopped" ? "" : "primary"}>
        {trainingStage.value === "idle" ? text.start : text.again}
      </button>
      {trainingStage.value !== "idle" && (
        <button type="button" title={text.saveNote} onClick={save}>
          {text.save}
        </button>
      )}
    </>
  );
}

function Curves(): JSX.Element | null {
  const text = words.value;
  const { recipe } = runForm.value;
  const at = useMemo(() => steps.value.map(({ step }) => step), [steps.value]);
  const losses = useMemo<uPlot.AlignedData>(
    () => [at, steps.value.map(({ f32 }) => f32), steps.value.map(({ low }) => low)],
    [at],
  );
  const ranges = useMemo<uPlot.AlignedData>(
    () => [
      at,
      steps.value.map((one) => 100 * one.ranges.flushed),
      steps.value.map((one) => 100 * one.ranges.saturated),
    ],
    [at],
  );
  const last = steps.value.at(-1);
  if (last === undefined) return null;
  const figures = [
    ["f32", text.lossOf("float32"), last.f32.toFixed(4)],
    ["low", text.lossOf(recipe), last.low.toFixed(4)],
    ["flushed", text.flushed, smallPercent(last.ranges.flushed)],
    ["saturated", text.saturated, smallPercent(last.ranges.saturated)],
  ] as const;
  return (
    <>
      <dl
        class="figures"
        data-testid="losses"
        data-last={JSON.stringify(steps.value.map((one) => [one.f32, one.low]))}
      >
        <FigureRows rows={figures} />
      </dl>
      <CardButtons name={`train-${recipe}`} make={() => cardOf(figures)} />
      <Curve
        label={text.loss}
        note={text.lossNote}
        height={280}
        data={losses}
        options={(colours) => lines(colours, ["float32", recipe], 4)}
      />
      <Curve
        label={text.ranges}
        note={text.rangesNote}
        height={160}
        data={ranges}
        options={(colours) => lines(colours, [text.flushed, text.saturated], 3, "%")}
      />
    </>
  );
}

/** The picture of a run: its last figures, and both losses. */
function cardOf(figures: readonly (readonly [string, string, string])[]): CardContent {
  const text = words.value;
  const { recipe } = runForm.value;
  return {
    title: text.card(steps.value.length),
    subtitle: recipe,
    figures: figures.map(([, label, value]) => ({ label, value })),
    below: {
      kind: "lines",
      label: text.loss,
      series: [
        { name: "float32", values: steps.value.map(({ f32 }) => f32) },
        { name: recipe, values: steps.value.map(({ low }) => low) },
      ],
    },
  };
}

function Curve({ note, ...chart }: ChartProps & { readonly note: string }): JSX.Element {
  return (
    <section class="curve">
      <h2>{chart.label}</h2>
      <p class="help">{note}</p>
      <Chart {...chart} />
    </section>
  );
}

/** Two lines over the steps; beside their names stand the values under the pointer, else the last ones. */
function lines(
  colours: Colours,
  [first, second]: readonly [string, string],
  digits: number,
  unit = "",
): Omit<uPlot.Options, "width" | "height"> {
  const shown = (decimals: number, of: string) => (plot: uPlot, value: number | null, i: number) => {
    const last = value ?? plot.data[i]?.at(-1);
    return last == null ? "" : last.toFixed(decimals) + of;
  };
  const line = { value: shown(digits, unit), width: 1.5, points: { show: false } };
  return {
    scales: { x: { time: false } },
    axes: [
      axis(colours, { size: 30, incrs: WHOLE_STEPS }),
      axis(colours, { size: 56, values: (_, ticks) => ticks.map((tick) => `${tick}${unit}`) }),
    ],
    series: [
      { label: words.value.step, value: shown(0, "") },
      { label: first, stroke: colours.muted, ...line },
      { label: second, stroke: colours.accent, ...line },
    ],
  };
}
