import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import type uPlot from "uplot";
import { number, percent, probability } from "../strings/format.ts";
import { axis, Chart } from "../views/chart.tsx";
import type { Colours } from "../views/colours.ts";
import { FigureRows } from "../views/figure-rows.tsx";
import type { Position } from "./protocol.ts";
import { format, positions, selectedPosition } from "./state.ts";
import { words } from "./words.ts";

/** What both models expected in the place of each token that the original wrote. */
export function Positions(): JSX.Element {
  const text = words.value;
  const all = positions.value;
  const position = all[Math.min(selectedPosition.value, all.length - 1)]!;
  const isCompared = all[0]!.divergence !== null;
  return (
    <section class="positions" aria-labelledby="positions-heading" data-testid="positions">
      <h2 id="positions-heading">{text.positions}</h2>
      {isCompared && <p class="help">{text.positionsNote}</p>}
      <TokenStrip all={all} />
      <Likely position={position} />
      {isCompared && <Divergences all={all} />}
    </section>
  );
}

/** Text with its whitespace made visible, so that every token can be seen and chosen. */
export function spacesShown(text: string): string {
  return text === "" ? "∅" : text.replace(/ /g, "␣").replace(/\n/g, "↵").replace(/\t/g, "⇥");
}

/** Divergences from which on a token takes the next stronger colour. */
const LEVELS = [0.001, 0.01, 0.1, 1];

const levelOf = (divergence: number | null): number =>
  LEVELS.filter((least) => (divergence ?? 0) >= least).length;

/** The text as tokens, of which one is chosen by pointer or by arrow keys. */
function TokenStrip({ all }: { readonly all: readonly Position[] }): JSX.Element {
  const choose = (i: number) => {
    selectedPosition.value = Math.max(0, Math.min(all.length - 1, i));
  };
  const steps: Readonly<Record<string, number>> = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };
  return (
    <div
      class="tokens"
      role="listbox"
      aria-label={words.value.positions}
      aria-activedescendant={`token-${selectedPosition.value}`}
      tabIndex={0}
      onKeyDown={(event) => {
        const ends: Readonly<Record<string, number>> = { Home: 0, End: all.length - 1 };
        const to = ends[event.key] ?? selectedPosition.value + (steps[event.key] ?? Number.NaN);
        if (Number.isNaN(to)) return;
        event.preventDefault();
        choose(to);
      }}
    >
      {all.map(({ text, divergence }, i) => (
        // biome-ignore lint/a11y/useKeyWithClickEvents: arrow keys choose, in the list
        // biome-ignore lint/a11y/useFocusableInteractive: the list has the focus
        <span
          key={i}
          id={`token-${i}`}
          role="option"
          aria-selected={i === selectedPosition.value}
          data-level={levelOf(divergence)}
          onClick={() => choose(i)}
        >
          {spacesShown(text)}
        </span>
      ))}
    </div>
  );
}

/** The likeliest tokens of both models, side by side. */
function Likely({ position }: { readonly position: Position }): JSX.Element {
  const text = words.value;
  const hasBoth = position.divergence !== null;
  return (
    <div class="scroll">
      <table class="likely" data-testid="likely">
        <caption>
          {text.likely(`“${spacesShown(position.text)}”`)}
          {hasBoth && ` · KL ${number(position.divergence!)}`}
        </caption>
        <thead>
          <tr>
            <th scope="col">{text.token}</th>
            <th scope="col">{text.original}</th>
            {hasBoth && <th scope="col">{format.value}</th>}
          </tr>
        </thead>
        <tbody>
          {position.candidates.map(({ id, text: token, original, converted }) => (
            <tr key={id} class={id === position.id ? "chosen" : ""}>
              <th scope="row">
                <code>{spacesShown(token)}</code> {id === position.id && <small>{text.written}</small>}
              </th>
              <Share value={original} kind="before" />
              {converted !== null && <Share value={converted} kind="after" />}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A probability, as a bar and in figures. */
function Share({ value, kind }: { readonly value: number; readonly kind: "before" | "after" }): JSX.Element {
  return (
    <td>
      <span class="share">
        <i class={kind} style={{ width: `${100 * value}%` }} />
      </span>
      {probability(value)}
    </td>
  );
}

/**
 * Mean KL divergence of all positions, `null` where nothing was converted; and the share of positions, from 0
 * to 1, at which both find the same token likeliest.
 */
export function meansOf(all: readonly Position[]): { readonly mean: number | null; readonly same: number } {
  const sum = all.reduce((n, { divergence }) => n + (divergence ?? 0), 0);
  const same = all.filter(({ candidates }) => {
    const top = candidates.reduce((a, b) => ((b.converted ?? 0) > (a.converted ?? 0) ? b : a));
    return top.id === candidates[0]!.id;
  });
  return { mean: all[0]!.divergence === null ? null : sum / all.length, same: same.length / all.length };
}

/** KL divergence by token, and its mean. */
function Divergences({ all }: { readonly all: readonly Position[] }): JSX.Element {
  const text = words.value;
  const values = all.map(({ divergence }) => divergence!);
  const data = useMemo<uPlot.AlignedData>(() => [values.map((_, i) => i + 1), values], [all]);
  const { mean, same } = meansOf(all);
  return (
    <>
      <dl class="figures">
        <FigureRows
          rows={[
            ["kl-mean", text.mean, number(mean!)],
            ["same-top", text.sameTop, percent(same)],
          ]}
        />
      </dl>
      <section class="curve">
        <h3>{text.divergence}</h3>
        <p class="help">{text.divergenceNote}</p>
        <Chart
          label={text.divergence}
          height={160}
          data={data}
          options={bars}
          pointed={(i) => `“${spacesShown(all[i]!.text)}” · KL ${number(values[i]!)}`}
        />
      </section>
    </>
  );
}

function bars(colours: Colours): Omit<uPlot.Options, "width" | "height"> {
  return {
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: { x: { time: false }, y: { range: (_, __, most) => [0, most * 1.05 || 1] } },
    axes: [
      axis(colours, { grid: { show: false } }),
      axis(colours, { size: 64, values: (_, ticks) => ticks.map(number) }),
    ],
    series: [{}, { stroke: colours.accent, fill: colours.accentFaint, width: 1.5, points: { show: false } }],
  };
}
