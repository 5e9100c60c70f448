import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import type { Engine } from "../../engine/engine.ts";
import { sqnr } from "../../engine/precision.ts";
import { load } from "../../load.ts";
import { largestOf } from "../../tensor/formats.ts";
import { CardButtons } from "../card/card-buttons.tsx";
import type { CardContent } from "../card/content.ts";
import { query, setAddress } from "../state/address.ts";
import { decibels, smallPercent } from "../strings/format.ts";
import { FigureRows } from "../views/figure-rows.tsx";
import { Controls } from "./controls.tsx";
import { MatrixMap, mix, type Palette, type Rgb } from "./map.tsx";
import { fateOf, measure, type QuantizedMatrix, valuesOf } from "./measure.ts";
import { Readout } from "./readout.tsx";
import { COLS, change, fieldsOf, ROWS, type Settings, scheme, settings, settingsOf } from "./state.ts";
import { words } from "./words.ts";

/** The playground, once the kernels are there. */
export function Playground(): JSX.Element {
  const [engine, setEngine] = useState<Engine | null>(null);
  useEffect(() => {
    load().then(setEngine);
    const take = () => {
      settings.value = settingsOf(query());
    };
    take();
    addEventListener("popstate", take);
    return () => removeEventListener("popstate", take);
  }, []);
  useEffect(() => {
    const timer = setTimeout(() => setAddress("playground", fieldsOf(settings.value)), 200);
    return () => clearTimeout(timer);
  }, [settings.value]);
  const text = words.value;
  return (
    <div class="view playground">
      <header class="view-heading">
        <h1>{text.heading}</h1>
        <p class="lead">{text.lead}</p>
      </header>
      {engine !== null && <Experiment engine={engine} />}
      <Lessons />
    </div>
  );
}

function Experiment({ engine }: { readonly engine: Engine }): JSX.Element {
  const text = words.value;
  const cell = useSignal((ROWS / 2 - 4) * COLS + 20);
  const brush = useSignal("h");
  const { matrix, seed, painted } = settings.value;
  const values = useMemo(() => valuesOf(settings.value), [matrix, seed, painted]);
  const found = useMemo(() => measure(engine, values, scheme.value), [engine, values, scheme.value]);
  const coloured = useMemo(() => coloursOf(found), [found]);
  const paint = useCallback((at: number) => {
    change({ painted: new Map([...settings.value.painted, [at, brush.value]]) });
  }, []);
  const point = useCallback((at: number) => {
    cell.value = at;
  }, []);
  const key = useCallback((event: KeyboardEvent) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -COLS, ArrowDown: COLS }[event.key];
    if (event.key === " ") paint(cell.value);
    else if (step === undefined) return;
    else cell.value = (cell.value + step + ROWS * COLS) % (ROWS * COLS);
    event.preventDefault();
  }, []);
  const [height, width] = found.tensor.block;
  const [row, col] = [Math.floor(cell.value / COLS), cell.value % COLS];
  const [top, left] = [row - (row % height), col - (col % width)];
  const block = [top, left, Math.min(height, ROWS - top), Math.min(width, COLS - left)] as const;
  const common = { cell: cell.value, block, describedBy: "readout", onKey: key };
  const map = (name: "values" | "codes" | "error", onPoint: (at: number, isPainting: boolean) => void) => (
    <MatrixMap
      {...common}
      title={text.maps[name]}
      note={text.maps[`${name}Note`]}
      testid={`map-${name}`}
      colour={coloured[name]}
      onPoint={onPoint}
    />
  );
  return (
    <>
      <Controls brush={brush} />
      <div class="matrices">
        {map("values", (at, isPainting) => {
          point(at);
          if (isPainting) paint(at);
        })}
        {map("codes", point)}
        {map("error", point)}
      </div>
      <ul class="legend">
        {(["saturated", "flushed"] as const).map((fate) => (
          <li key={fate}>
            <i class={fate} aria-hidden="true" /> {text.legend[fate]}
          </li>
        ))}
      </ul>
      <div class="below">
        <Readout found={found} cell={cell.value} />
        <Figures found={found} />
      </div>
    </>
  );
}

/** Depth of the colour of what is not zero, at least. */
const FAINT = 0.06;

/**
 * Values and codes by their logarithms, from the smallest to the largest; errors by theirs, from a thousandth
 * up.
 */
function coloursOf(
  found: QuantizedMatrix,
): Record<"values" | "codes" | "error", (i: number, p: Palette) => Rgb> {
  const { values, elements, dequantized, tensor, precision } = found;
  const depths = (all: Float32Array, most: number) => {
    const least = all.reduce((n, x) => (x === 0 ? n : Math.min(n, Math.abs(x))), most);
    const span = Math.log2(most / least) || 1;
    return (x: number) =>
      x === 0 ? 0 : Math.sign(x) * Math.max(FAINT, 1 + Math.log2(Math.abs(x) / most) / span);
  };
  const [ofValue, ofCode] = [depths(values, precision.amax), depths(elements, largestOf(tensor.format))];
  return {
    values: (i, palette) => mix(palette, ofValue(values[i]!)),
    codes: (i, palette) => mix(palette, ofCode(elements[i]!)),
    error: (i, palette) => {
      const fate = fateOf(found, i);
      if (fate === "saturated" || fate === "flushed") return palette[fate];
      const relative = Math.abs((dequantized[i]! - values[i]!) / values[i]!);
      return fate === "exact" ? palette.none : mix(palette, Math.max(FAINT, 1 + Math.log10(relative) / 3));
    },
  };
}

function Figures({ found }: { readonly found: QuantizedMatrix }): JSX.Element {
  const { figures } = words.value;
  const { precision, tensor, scales } = found;
  const bits =
    (8 * (tensor.codes.length + scales.length * tensor.scales.BYTES_PER_ELEMENT)) / found.values.length;
  const ratio = sqnr(precision);
  const counted = (n: number) => `${n} (${smallPercent(n / precision.count)})`;
  const rows: [string, string, string][] = [
    ["sqnr", figures.sqnr, Number.isFinite(ratio) ? decibels(ratio) : "∞"],
    ["saturated", figures.saturated, counted(precision.saturated)],
    ["flushed", figures.flushed, counted(precision.flushed)],
    ["bits", figures.bits, bits.toFixed(2)],
  ];
  return (
    <>
      <dl class="figures" data-testid="figures">
        <FigureRows rows={rows} />
      </dl>
      <CardButtons name="playground" make={() => cardOf(rows)} />
    </>
  );
}

/** The three maps as they are on the page, and the figures. */
function cardOf(rows: readonly (readonly [string, string, string])[]): CardContent {
  const text = words.value;
  const { matrix, format, rule } = settings.value;
  return {
    title: text.matrix[matrix],
    subtitle: [format.toUpperCase(), scheme.value.block.join("×"), text.rule[rule]].join(", "),
    figures: rows.map(([, label, value]) => ({ label, value })),
    below: {
      kind: "maps",
      maps: (["values", "codes", "error"] as const).map((name) => ({
        label: text.maps[name],
        map: document.querySelector<HTMLCanvasElement>(`[data-testid=map-${name}] canvas`)!,
      })),
    },
  };
}

const SHOWN: readonly Partial<Settings>[] = [
  { matrix: "gaussian", format: "e4m3", block: "64", rule: "rceil", role: "activation" },
  { matrix: "gaussian", format: "e4m3", block: "32", rule: "floor", role: "activation" },
  { matrix: "outlier", format: "e4m3", block: "32", rule: "rceil", role: "weight" },
];

function Lessons(): JSX.Element {
  const text = words.value;
  return (
    <section class="lessons">
      <h2>{text.lessonsHeading}</h2>
      <ul>
        {text.lessons.map(({ title, text: body }, i) => (
          <li key={title}>
            <h3>{title}</h3>
            <p>{body}</p>
            <button
              type="button"
              aria-label={`${text.try}: ${title}`}
              onClick={() => change({ ...SHOWN[i], painted: new Map() })}
            >
              {text.try}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
