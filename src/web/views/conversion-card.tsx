import type { JSX } from "preact";
import { cancel, pause, resume } from "../state/converting.ts";
import { conversionRun } from "../state/signals.ts";
import { bytes, duration, percent } from "../strings/format.ts";
import { words } from "../strings/index.ts";
import { useFocus } from "./focus.ts";
import { Icon } from "./icons.tsx";

/** A conversion going on. */
export function RunCard(): JSX.Element | null {
  const { run: text } = words.value;
  const place = useFocus<HTMLHeadingElement>();
  const state = conversionRun.value;
  if (state === null) return null;
  const { step } = state;
  const share = step.size === 0 ? 1 : step.bytes / step.size;
  const isVerifying = step.phase === "verify";
  const name = step.phase === "verify" ? step.file : step.tensor;
  const heading = state.isPaused ? text.paused : isVerifying ? text.verifying : text.heading;
  return (
    <section class="card" aria-labelledby="run-heading" data-testid="running">
      <h2 id="run-heading" tabIndex={-1} ref={place}>
        {heading}
      </h2>
      <div
        class={state.isPaused ? "progress paused" : "progress"}
        role="progressbar"
        aria-labelledby="run-heading"
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.floor(share * 100)}
      >
        <span style={{ transform: `scaleX(${share})` }} />
      </div>
      <p class="big part">
        {percent(share)}
        <span>{state.left === null || state.isPaused ? "" : text.left(duration(state.left))}</span>
      </p>
      <p class="help">
        {text.progress(bytes(step.bytes), bytes(step.size))}
        {state.rate !== null && !state.isPaused && ` · ${text.rate(bytes(state.rate))}`}
      </p>
      <p class="current" title={name}>
        {name}
      </p>
      <div class="row">
        {state.isPaused ? (
          <button type="button" onClick={resume}>
            <Icon name="play" />
            {text.resume}
          </button>
        ) : (
          <button type="button" disabled={isVerifying} onClick={pause}>
            <Icon name="pause" />
            {text.pause}
          </button>
        )}
        <button type="button" class="quiet" onClick={cancel}>
          {text.cancel}
        </button>
      </div>
      <p class="help">{text.leave}</p>
    </section>
  );
}
