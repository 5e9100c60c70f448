import type { JSX } from "preact";
import type { ValueType } from "../../tensor/tensor.ts";
import { convert } from "../state/converting.ts";
import { MIXED } from "../state/destinations.ts";
import { canChoose } from "../state/saving.ts";
import {
  changedTensors,
  changeForm,
  estimate,
  form,
  hasFieldFault,
  isFolder,
  isPlanned,
  opened,
  patternFault,
  planned,
  planProblem,
  storageProblem,
} from "../state/signals.ts";
import { bytes, duration, percent, whole } from "../strings/format.ts";
import { words } from "../strings/index.ts";
import { useFocus } from "./focus.ts";
import { FormatChoice } from "./format-choice.tsx";
import { OverridesField } from "./overrides-field.tsx";
import { ProblemText } from "./problem.tsx";
import { TextArea } from "./text-area.tsx";
import { Warnings } from "./warnings.tsx";

/** The form that says what to make of the checkpoint. */
export function ConvertCard(): JSX.Element {
  const { convert: text } = words.value;
  const heading = useFocus<HTMLHeadingElement>();
  const { action } = form.value;
  const isQuantised = opened.value!.inspection.tensors.some(({ scaled }) => scaled !== null);
  return (
    <section class="card" aria-labelledby="convert-heading">
      <h2 id="convert-heading" tabIndex={-1} ref={heading}>
        {text.heading}
      </h2>
      {isQuantised && (
        <fieldset class="segments">
          <legend class="hidden">{text.action}</legend>
          {(["dequantize", "quantize"] as const).map((one) => (
            <label key={one}>
              <input
                type="radio"
                name="action"
                checked={action === one}
                onChange={() => changeForm({ action: one, single: new Map() })}
              />
              <span>{text[one]}</span>
            </label>
          ))}
        </fieldset>
      )}
      {action === "quantize" ? (
        <FormatChoice
          id="dialect"
          value={form.value.to}
          offersMix={true}
          onChange={(to) => changeForm({ to })}
        />
      ) : (
        <DtypeField />
      )}
      {action === "quantize" && form.value.to === MIXED && <OverridesField />}
      <Patterns />
      <Outcome />
    </section>
  );
}

const DTYPES: readonly ValueType[] = ["bf16", "f16", "f32"];

function DtypeField(): JSX.Element {
  return (
    <fieldset class="segments">
      <legend>{words.value.convert.dtype}</legend>
      {DTYPES.map((dtype) => (
        <label key={dtype}>
          <input
            type="radio"
            name="dtype"
            checked={form.value.dtype === dtype}
            onChange={() => changeForm({ dtype })}
          />
          <span>{dtype.toUpperCase()}</span>
        </label>
      ))}
    </fieldset>
  );
}

function Patterns(): JSX.Element {
  const { convert: text } = words.value;
  const { include, exclude, single } = form.value;
  const area = (id: "include" | "exclude", value: string) => {
    const line = patternFault(value);
    return (
      <TextArea
        id={id}
        label={text[id]}
        rows={2}
        value={value}
        placeholder={text.patternExample}
        fault={line === null ? null : text.noPattern(line)}
        onInput={(typed) => changeForm({ [id]: typed })}
      />
    );
  };
  return (
    <details class="patterns">
      <summary>{text.options}</summary>
      {area("exclude", exclude)}
      {area("include", include)}
      <p class="help">{text.patternHelp}</p>
      {single.size > 0 && (
        <button type="button" class="quiet" onClick={() => changeForm({ single: new Map() })}>
          {text.reset(single.size)}
        </button>
      )}
    </details>
  );
}

/** Exact size, estimated time, and the button. */
function Outcome(): JSX.Element {
  const { convert: text } = words.value;
  const plan = planned.value;
  const failure = planProblem.value;
  const before = opened.value!.inspection.files.reduce((n, file) => n + file.bytes, 0);
  const mayChoose = canChoose(isFolder.value);
  const noRoom = mayChoose ? null : storageProblem.value;
  const isIdle =
    !isPlanned.value ||
    hasFieldFault.value ||
    failure !== null ||
    noRoom !== null ||
    changedTensors.value === 0;
  return (
    <div class="outcome">
      {failure !== null && (
        <div class="note bad" role="alert">
          <ProblemText problem={failure} />
        </div>
      )}
      {(failure === null || failure.kind === "not-finite") && plan !== null && (
        <dl aria-live="polite" aria-busy={!isPlanned.value} data-testid="outcome">
          <div class="figure">
            <dt>{text.outputSize}</dt>
            <dd>
              <b data-bytes={plan.size}>{bytes(plan.size)}</b>
              <span>{difference(before, plan.size)}</span>
            </dd>
          </div>
          <div class="figure">
            <dt>{text.time}</dt>
            <dd>
              <b>{timeText()}</b>
              {estimate.value?.bytesPerSecond != null && (
                <span>{text.served(bytes(estimate.value.bytesPerSecond))}</span>
              )}
              <span>
                {changedTensors.value === 0
                  ? text.nothing
                  : text.changes(whole(changedTensors.value), whole(plan.tensors.length))}
              </span>
            </dd>
          </div>
        </dl>
      )}
      <PlanWarnings />
      {noRoom !== null && (
        <div class="note bad" role="status">
          <ProblemText problem={noRoom} />
        </div>
      )}
      <button type="button" class="primary wide" disabled={isIdle} onClick={convert}>
        {mayChoose ? `${text.startTo}…` : text.start}
      </button>
      <ToAdd text={plan?.toAdd ?? null} />
      {plan !== null && !mayChoose && noRoom === null && (
        <p class="help">{text.privateNote(bytes(plan.size))}</p>
      )}
    </div>
  );
}

/** Which readers refuse the output, or some of it; nothing where nothing changes. */
export function PlanWarnings(): JSX.Element | null {
  if (planProblem.value !== null || changedTensors.value === 0) return null;
  return <Warnings of={planned.value?.warnings ?? []} />;
}

/** What has to be put into config.json where the output has none beside it. */
export function ToAdd({ text }: { readonly text: string | null }): JSX.Element | null {
  const { convert } = words.value;
  if (text === null) return null;
  return (
    <details class="to-add" data-testid="to-add">
      <summary>{convert.noConfig}</summary>
      <p class="help">{convert.toAdd}</p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <pre tabIndex={0}>{text}</pre>
    </details>
  );
}

function timeText(): string {
  const { measuring, about } = words.value.convert;
  if (planProblem.value !== null) return "–";
  return estimate.value === null ? measuring : about(duration(estimate.value.seconds));
}

function difference(before: number, after: number): string {
  const { smaller, larger } = words.value.convert;
  const change = after / before - 1;
  return change <= 0 ? smaller(percent(-change)) : larger(percent(change));
}
