import type { JSX } from "preact";
import { CardButtons } from "../card/card-buttons.tsx";
import type { CardContent } from "../card/content.ts";
import { number, percent, probability, smallPercent, whole } from "../strings/format.ts";
import { FigureRows } from "../views/figure-rows.tsx";
import { TextArea } from "../views/text-area.tsx";
import { spacesShown } from "./positions.tsx";
import type { MeasuredText } from "./protocol.ts";
import { busy, converted, facts, format, measure, measured, progress, stop, text } from "./state.ts";
import { words } from "./words.ts";

/** Perplexity and divergence on a text of the user's own. */
export function Measure(): JSX.Element {
  const labels = words.value;
  const isMeasuring = busy.value === "measure";
  const isIdle = busy.value === null && facts.value !== null;
  return (
    <>
      <form
        class="controls"
        onSubmit={(event) => {
          event.preventDefault();
          if (isIdle) measure();
        }}
      >
        <TextArea
          id="run-text"
          label={labels.text}
          rows={8}
          value={text.value}
          help={converted.value === null && format.value === null ? labels.wantsConversion : labels.textNote}
          onInput={(value) => {
            text.value = value;
          }}
        />
        <div class="row buttons">
          {isMeasuring ? (
            <button type="button" onClick={stop}>
              {labels.stop}
            </button>
          ) : (
            <button
              type="submit"
              class="primary"
              disabled={!isIdle || converted.value === null || text.value === ""}
            >
              {labels.measure}
            </button>
          )}
          <p class="help" role="status">
            {isMeasuring && labels.measuring(percent(progress.value))}
          </p>
        </div>
      </form>
      {measured.value !== null && <Found found={measured.value} />}
    </>
  );
}

function cardOfFigures(found: MeasuredText): CardContent {
  const { figures, verdict, counted } = words.value;
  const { perplexityBase, perplexity, kldMean, sameTop } = found;
  return {
    title: facts.value!.name,
    subtitle: format.value!,
    figures: [
      { label: figures.perplexityBase, value: number(perplexityBase[0]) },
      { label: figures.perplexity, value: number(perplexity[0]) },
      { label: figures.kldMean, value: number(kldMean[0]) },
      { label: figures.sameTop, value: smallPercent(sameTop[0]) },
    ],
    below: {
      kind: "texts",
      texts: [{ heading: counted(whole(found.tokens), whole(found.context)), text: verdict(kldMean[0]) }],
    },
  };
}

function Found({ found }: { readonly found: MeasuredText }): JSX.Element {
  const labels = words.value;
  const { figures } = labels;
  const within = ([value, error]: readonly [number, number], show = number) =>
    `${show(value)} ± ${show(error)}`;
  return (
    <section class="found" data-testid="measured">
      <p class="big">{labels.verdict(found.kldMean[0])}</p>
      <p class="help">{labels.counted(whole(found.tokens), whole(found.context))}</p>
      <dl class="figures">
        <FigureRows
          rows={[
            ["perplexityBase", figures.perplexityBase, within(found.perplexityBase)],
            ["perplexity", figures.perplexity, within(found.perplexity)],
            ["kldMean", figures.kldMean, within(found.kldMean)],
            ["kldMedian", figures.kldMedian, number(found.kldMedian)],
            ["kld99", figures.kld99, number(found.kld99)],
            ["kldMax", figures.kldMax, number(found.kldMax)],
            ["sameTop", figures.sameTop, within(found.sameTop, smallPercent)],
            ["rmsDeltaP", figures.rmsDeltaP, within(found.rmsDeltaP, smallPercent)],
          ]}
        />
      </dl>
      <CardButtons name={facts.value!.name} make={() => cardOfFigures(found)} />
      <h3>{labels.worst}</h3>
      <div class="scroll">
        <table class="likely worst">
          <thead>
            <tr>
              <th scope="col">{labels.before}</th>
              <th scope="col">{labels.token}</th>
              <th scope="col">{labels.original}</th>
              <th scope="col">{format.value}</th>
              <th scope="col">KL</th>
            </tr>
          </thead>
          <tbody>
            {found.worst.map(({ before, token, original, converted: other, divergence }, i) => (
              <tr key={i}>
                <td class="context">{before}</td>
                <th scope="row">
                  <code>{spacesShown(token)}</code>
                </th>
                <td>{probability(original)}</td>
                <td>{probability(other)}</td>
                <td>{number(divergence)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
