import type { JSX } from "preact";
import { problem } from "../session/model.ts";
import { words } from "../strings/index.ts";
import type { Problem, ProblemKind } from "../workers/protocol.ts";
import { Icon } from "./icons.tsx";

/** What went wrong and what to do about it, at the top of the page until it is closed. */
export function ProblemNote(): JSX.Element {
  const found = problem.value;
  return (
    <div role="alert">
      {found !== null && (
        <div class={found.kind === "cancelled" ? "note" : "note bad"}>
          <Icon name={found.kind === "cancelled" ? "close" : "alert"} />
          <ProblemText problem={found} />
          <button
            type="button"
            class="quiet square"
            aria-label={words.value.problem.dismiss}
            onClick={() => {
              problem.value = null;
            }}
          >
            <Icon name="close" />
          </button>
        </div>
      )}
    </div>
  );
}

/** Problems that come before anything is written. */
const BEFORE_WRITING: ReadonlySet<ProblemKind> = new Set(["format", "storage", "other"]);

/** A problem in words: title, advice, and the precise story. */
export function ProblemText({ problem: { kind, message } }: { readonly problem: Problem }): JSX.Element {
  const { titles, advice, details, nothingKept } = words.value.problem;
  return (
    <div class="problem">
      <strong>{titles[kind]}</strong>
      <p>
        {!BEFORE_WRITING.has(kind) && `${nothingKept} `}
        {advice[kind]}
      </p>
      {kind !== "cancelled" && (
        <details>
          <summary>{details}</summary>
          <p class="message">{message}</p>
        </details>
      )}
    </div>
  );
}
