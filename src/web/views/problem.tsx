import type { JSX } from "preact";
import type { Fault } from "../../tensor/errors.ts";
import { keepAsIs } from "../state/converting.ts";
import { linkProblems, problem } from "../state/signals.ts";
import { whole } from "../strings/format.ts";
import { joined, translated, words } from "../strings/index.ts";
import type { Problem, ProblemKind } from "../workers/problem.ts";
import { Icon } from "./icons.tsx";

/** What went wrong and what to do about it, at the top of the page until it is closed. */
export function ProblemNote(): JSX.Element {
  const all = problem.value === null ? linkProblems.value : [problem.value, ...linkProblems.value];
  const dismiss = (found: Problem) => {
    if (problem.value === found) problem.value = null;
    linkProblems.value = linkProblems.value.filter((one) => one !== found);
  };
  return (
    <div role="alert">
      {all.map((found) => (
        <div key={found} class={found.kind === "cancelled" ? "note" : "note bad"}>
          <Icon name={found.kind === "cancelled" ? "close" : "alert"} />
          <ProblemText problem={found} />
          <button
            type="button"
            class="quiet square"
            aria-label={words.value.problem.dismiss}
            onClick={() => dismiss(found)}
          >
            <Icon name="close" />
          </button>
        </div>
      ))}
    </div>
  );
}

/** Problems that come before anything is written. */
const BEFORE_WRITING: ReadonlySet<ProblemKind> = new Set([
  "format",
  "storage",
  "other",
  "network",
  "gated",
  "missing",
  "address",
  "pattern",
  "link",
  "not-finite",
]);

/** A problem in words: the cause, what to do, and the details. */
export function ProblemText({ problem: found }: { readonly problem: Problem }): JSX.Element {
  const { details, nothingKept } = words.value.problem;
  const { kind } = found;
  return (
    <div class="problem">
      <strong>{causeOf(found)}</strong>
      <p>{joined(BEFORE_WRITING.has(kind) ? "" : nothingKept, adviceOf(found))}</p>
      {kind === "not-finite" && <KeepButtons tensor={found.facts!.tensor!} />}
      {kind !== "cancelled" && kind !== "link" && (
        <details>
          <summary>{details}</summary>
          <Story problem={found} />
        </details>
      )}
    </div>
  );
}

/** What happened, as exactly as it is known, in one line. */
function causeOf({ kind, facts = {} }: Problem): string {
  const text = words.value.problem;
  const { titles, cutOff, missingFiles, isWhat, notFinite, overflows, noWeights } = text;
  const { fault, tensor, row, column, place, format } = facts;
  switch (kind) {
    case "not-finite":
      return row === undefined || column === undefined
        ? overflows(tensor!)
        : notFinite(tensor!, whole(row), whole(column));
    case "gated":
    case "missing":
    case "address":
      return text[kind](place!);
    case "link":
      return format !== undefined
        ? text.linkFormat(format)
        : tensor !== undefined
          ? text.linkTensor(tensor)
          : text.linkPlace(place!);
    case "format": {
      if (fault === undefined) return place === undefined ? titles.format : noWeights(place);
      if (fault.fix.startsWith("The file is cut off")) return cutOff(fault.where);
      const absent = /^\d+ missing: (.*)$/.exec(fault.got)?.[1];
      if (absent !== undefined) return missingFiles(absent);
      return isOtherKind(fault) ? isWhat(fault.where, translated(fault.got)) : found(fault);
    }
    case "other":
      if (fault === undefined) return titles.other;
      if (isUnknownModel(fault)) return text.unknownModel(fault.got);
      return isAbsent(fault) ? missingFiles(fault.where) : found(fault);
    default:
      return titles[kind];
  }
}

/** Where something is wrong, and what is there. */
function found({ where, got }: Fault): string {
  return translated(where) + words.value.colon + translated(got);
}

/** Whether there is no such file. */
function isAbsent({ where, got }: Fault): boolean {
  return got === "none" && where.endsWith(".json");
}

/** Whether a file is one of another kind, and `got` says which. */
function isOtherKind({ expected, got }: Fault): boolean {
  return expected === "a safetensors file" || got === "an empty file";
}

/** Whether a model is of an architecture that is not run. Details list those that are. */
function isUnknownModel({ where, got }: Fault): boolean {
  return where.endsWith(": architectures") && got !== "none";
}

function adviceOf({ kind, facts = {} }: Problem): string {
  const { convert, colon, period, problem: text } = words.value;
  const { advice, expects } = text;
  const { fault } = facts;
  if (fault === undefined) return advice[kind];
  // The heading says already that the file is cut off.
  const fix = translated(fault.fix.replace(/^The file is cut off: fetch it/, "Fetch the file"));
  if (kind === "pattern") {
    // Fields have other names on the page than options have in the library.
    const where = translated(fault.where).replace(
      /^(include|exclude): /,
      (_, option: "include" | "exclude") => convert[option] + colon,
    );
    return joined(where + period, fix);
  }
  if (kind !== "format" && kind !== "other") return advice[kind];
  const isSaid =
    isOtherKind(fault) ||
    isUnknownModel(fault) ||
    isAbsent(fault) ||
    /^(The file is cut off|Fetch the missing)/.test(fault.fix);
  return joined(isSaid ? "" : expects(translated(fault.expected)), fix);
}

/** The four parts of an error of the library, or what the browser said. */
function Story({ problem: { message, facts } }: { readonly problem: Problem }): JSX.Element {
  const { parts } = words.value.problem;
  const fault = facts?.fault;
  if (fault === undefined) return <p class="message">{message}</p>;
  return (
    <dl class="message parts">
      {(["where", "expected", "got", "fix"] as const).map((part) => (
        <div key={part}>
          <dt>{parts[part]}</dt>
          <dd>{translated(fault[part])}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A tensor that cannot be converted need not stop the others. */
function KeepButtons({ tensor }: { readonly tensor: string }): JSX.Element {
  const { keepThis, keepAll } = words.value.problem;
  return (
    <div class="row keep-row">
      <button type="button" onClick={() => keepAsIs(tensor, false)}>
        {keepThis(tensor)}
      </button>
      <button type="button" class="quiet" onClick={() => keepAsIs(tensor, true)}>
        {keepAll}
      </button>
    </div>
  );
}
