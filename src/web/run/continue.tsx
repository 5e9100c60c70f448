import type { JSX } from "preact";
import { CardButtons } from "../card/card-buttons.tsx";
import type { CardContent } from "../card/content.ts";
import { brief, number, percent } from "../strings/format.ts";
import { Choice } from "../views/choice.tsx";
import { TextArea } from "../views/text-area.tsx";
import { meansOf, Positions } from "./positions.tsx";
import type { ModelSide } from "./protocol.ts";
import {
  busy,
  continuedPrompt,
  continueText,
  facts,
  format,
  length,
  positions,
  prompt,
  speed,
  stop,
  temperature,
  written,
} from "./state.ts";
import { words } from "./words.ts";

/** Both models go on from the same beginning. */
export function Continue(): JSX.Element {
  return (
    <>
      <Beginning />
      <div class={format.value === null ? "columns" : "columns two"} aria-busy={busy.value === "continue"}>
        <Column side="original" />
        {format.value !== null && <Column side="converted" />}
      </div>
      {positions.value.length > 0 && (
        <>
          <CardButtons name={facts.value!.name} make={cardOfTexts} />
          <Positions />
        </>
      )}
    </>
  );
}

/** What both wrote, and how far their predictions are apart. */
function cardOfTexts(): CardContent {
  const labels = words.value;
  const { mean, same } = meansOf(positions.value);
  const figure = (label: string, value: string) => ({ label, value });
  const fast = (side: ModelSide) => (speed.value[side] === null ? "–" : brief(speed.value[side]));
  const sides: readonly ModelSide[] = format.value === null ? ["original"] : ["original", "converted"];
  const heading = (side: ModelSide) => (side === "original" ? labels.original : format.value!);
  return {
    title: facts.value!.name,
    subtitle: format.value ?? labels.original,
    figures: [
      ...(mean === null ? [] : [figure(labels.mean, number(mean)), figure(labels.sameTop, percent(same))]),
      figure(labels.perSecond, sides.map(fast).join(" / ")),
    ],
    below: {
      kind: "texts",
      texts: sides.map((side) => ({
        heading: heading(side),
        text: continuedPrompt.value + written.value[side].map(({ text }) => text).join(""),
      })),
    },
  };
}

const LENGTHS = ["20", "60", "120", "250"];
const TEMPERATURES = ["0", "0.5", "0.8", "1"];

function Beginning(): JSX.Element {
  const text = words.value;
  const isIdle = busy.value === null && facts.value !== null;
  return (
    <form
      class="controls"
      onSubmit={(event) => {
        event.preventDefault();
        if (isIdle && prompt.value !== "") continueText();
      }}
    >
      <TextArea
        id="run-prompt"
        label={text.prompt}
        rows={3}
        value={prompt.value}
        onInput={(value) => {
          prompt.value = value;
        }}
      />
      <Choice
        id="run-length"
        label={text.length}
        value={String(length.value)}
        options={LENGTHS.map((one) => [one, one])}
        onChange={(value) => {
          length.value = Number(value);
        }}
      />
      <Temperature />
      <div class="row buttons">
        {busy.value === "continue" ? (
          <button type="button" onClick={stop}>
            {text.stop}
          </button>
        ) : (
          <button type="submit" class="primary" disabled={!isIdle || prompt.value === ""}>
            {text.go}
          </button>
        )}
      </div>
    </form>
  );
}

/** How freely tokens are chosen. */
export function Temperature(): JSX.Element {
  const text = words.value;
  return (
    <Choice
      id="run-temperature"
      label={text.temperature}
      value={String(temperature.value)}
      options={TEMPERATURES.map((one) => [one, one === "0" ? text.likeliest : one])}
      onChange={(value) => {
        temperature.value = Number(value);
      }}
    />
  );
}

function Column({ side }: { readonly side: ModelSide }): JSX.Element {
  const text = words.value;
  const tokens = written.value[side];
  const fast = speed.value[side];
  const others = side === "converted" ? written.value.original : null;
  return (
    <section class="column" data-testid={`written-${side}`}>
      <header>
        <h3>{side === "original" ? text.original : format.value}</h3>
        <span class="help" data-figure={`speed-${side}`}>
          {fast !== null && text.speed(brief(fast))}
        </span>
      </header>
      {tokens.length === 0 ? (
        <p class="help">{text.nothingYet}</p>
      ) : (
        <p class="passage">
          <span class="begun">{continuedPrompt.value}</span>
          {tokens.map((token, i) =>
            others !== null && others[i]?.id !== token.id ? <mark key={i}>{token.text}</mark> : token.text,
          )}
        </p>
      )}
      {others !== null && tokens.some(({ id }, i) => others[i]?.id !== id) && (
        <p class="help">{text.underlined}</p>
      )}
    </section>
  );
}
