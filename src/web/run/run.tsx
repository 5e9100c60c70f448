import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { origin, query, refuseLink, setAddress } from "../state/address.ts";
import { isOffered, MIXED } from "../state/destinations.ts";
import { chosen, nameOfChosen } from "../state/signals.ts";
import { bytes, percent, short } from "../strings/format.ts";
import { FormatChoice } from "../views/format-choice.tsx";
import { OpenAnother } from "../views/open-another.tsx";
import { PageOpeners } from "../views/start.tsx";
import { Chat } from "./chat.tsx";
import { Continue } from "./continue.tsx";
import { Measure } from "./measure-text.tsx";
import {
  busy,
  converted,
  convertTo,
  facts,
  follow,
  format,
  MODEL_ACTIONS,
  type ModelAction,
  PROMPT,
  problems,
  progress,
  prompt,
  task,
} from "./state.ts";
import { words } from "./words.ts";

/** A model that runs, beside what a conversion makes of it. */
export function Run(): JSX.Element {
  const text = words.value;
  useEffect(() => {
    takeLink();
    const stopFollowing = follow();
    return () => {
      stopFollowing();
      problems.forget();
    };
  }, []);
  useEffect(() => {
    const from = origin.value;
    setAddress("run", {
      ...(from !== null && { [from.kind]: from.name }),
      ...(task.value !== "continue" && { task: task.value }),
      ...(format.value !== "deepseek-v3.1" && { format: format.value ?? "none" }),
      ...(prompt.value !== PROMPT && { prompt: prompt.value }),
    });
  }, [origin.value, task.value, format.value, prompt.value]);
  return (
    <div class="view run">
      <header class="view-heading">
        <h1>{text.heading}</h1>
        <p class="lead">{text.lead}</p>
      </header>
      {chosen.value === null ? <PageOpeners /> : <Opened />}
    </div>
  );
}

/** What a link asks for. Names from outside count only if they are known. */
function takeLink(): void {
  const params = query();
  const [wanted, doing, begun] = [params.get("format"), params.get("task"), params.get("prompt")];
  if (wanted === "none") format.value = null;
  else if (wanted !== null) {
    // A mix wants more than its name.
    if (isOffered(wanted) && wanted !== MIXED) format.value = wanted;
    else refuseLink({ format: wanted });
  }
  if (MODEL_ACTIONS.includes(doing as ModelAction)) task.value = doing as ModelAction;
  if (begun !== null) prompt.value = begun.slice(0, 2000);
}

function Opened(): JSX.Element {
  const text = words.value;
  const model = facts.value;
  return (
    <>
      <section class="model-line">
        <h2>{model?.name ?? nameOfChosen(chosen.value!)}</h2>
        <p class="help" data-testid="run-facts">
          {model !== null &&
            `${text.facts(model.architecture, short(model.parameters))} · ${text.threads(model.threads, crossOriginIsolated)}`}
        </p>
        <OpenAnother disabled={busy.value !== null} />
      </section>
      {model !== null && !model.writes ? (
        <p class="note">{text.encoder}</p>
      ) : model !== null && !model.hasTokenizer ? (
        <p class="note">{text.noTokenizer}</p>
      ) : (
        // A model that could not be opened has no tasks.
        (model !== null || busy.value !== null) && (
          <>
            <Conversion />
            <Tasks />
          </>
        )
      )}
    </>
  );
}

/** The choice of the format to compare with, and what is going on. */
function Conversion(): JSX.Element {
  const text = words.value;
  const isBusy = busy.value !== null;
  return (
    <section class="controls">
      <label class="check">
        <input
          type="checkbox"
          checked={format.value !== null}
          disabled={isBusy}
          onChange={(event) => convertTo(event.currentTarget.checked ? "deepseek-v3.1" : null)}
        />
        {text.compare}
      </label>
      {format.value !== null && (
        <FormatChoice id="run-format" value={format.value} disabled={isBusy} onChange={convertTo} />
      )}
      <p class="help status" role="status" data-testid="run-status">
        {statusText()}
      </p>
    </section>
  );
}

function statusText(): string {
  const text = words.value;
  if (busy.value === "opening") return text.opening(percent(progress.value));
  if (busy.value === "converting") return text.converting(percent(progress.value));
  const made = converted.value;
  if (made === null) return "";
  return made.changed === 0 ? text.unchanged : text.isConverted(bytes(facts.value!.bytes), bytes(made.bytes));
}

const VIEWS: Readonly<Record<ModelAction, () => JSX.Element>> = {
  continue: Continue,
  measure: Measure,
  chat: Chat,
};

function Tasks(): JSX.Element {
  const { tasks } = words.value;
  const View = VIEWS[task.value];
  return (
    <>
      <fieldset class="segments tasks">
        <legend class="hidden">{tasks.label}</legend>
        {MODEL_ACTIONS.map((one) => (
          <label key={one}>
            <input
              type="radio"
              name="task"
              checked={task.value === one}
              onChange={() => {
                task.value = one;
              }}
            />
            <span>{tasks[one]}</span>
          </label>
        ))}
      </fieldset>
      <View />
    </>
  );
}
