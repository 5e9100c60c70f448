import { batch, computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { type DialectName, dialects } from "../../checkpoint/dialects/index.ts";
import { compileOverrides, type Override, parseOverrides } from "../../checkpoint/dialects/overrides.ts";
import { matcher } from "../../checkpoint/dialects/rules.ts";
import { type Summary, summarize } from "../../checkpoint/measure/summary.ts";
import type { Precision } from "../../engine/precision.ts";
import { BlockscaleError, type Fault } from "../../tensor/errors.ts";
import type { ValueType } from "../../tensor/tensor.ts";
import type { Problem } from "../workers/problem.ts";
import type {
  ChosenCheckpoint,
  ConversionChoice,
  InspectedCheckpoint,
  PlannedOutput,
  RunStep,
  TimeEstimate,
  UnsavedOutput,
  WrittenFile,
} from "../workers/protocol.ts";
import { MIXED, suffixOf } from "./destinations.ts";

/** The step that the user has reached. */
export type Stage = "start" | "opening" | "ready" | "running" | "done";

/** What the form holds. */
export interface Form {
  readonly action: "quantize" | "dequantize";
  readonly to: DialectName;
  readonly dtype: ValueType;
  /** One pattern per line, as typed. */
  readonly include: string;
  readonly exclude: string;
  /** A format for each weight as JSON, as typed: of {@link MIXED} alone. */
  readonly overrides: string;
  /** Single tensors, by click: true to convert, false to keep. */
  readonly single: ReadonlyMap<string, boolean>;
  /** Tensors that turn out to hold NaN or Inf are kept without asking. */
  readonly keepsNotFinite: boolean;
}

/** A run as the page shows it. */
export interface RunState {
  readonly step: RunStep;
  readonly isPaused: boolean;
  /** Output bytes a second, and seconds left; `null` in the first moments. */
  readonly rate: number | null;
  readonly left: number | null;
}

/** A run that ended without an error. */
export interface Result {
  /** Id of the output in the browser's own storage; `null` where it went to a place the user chose. */
  readonly id: string | null;
  readonly written: readonly WrittenFile[];
  readonly seconds: number;
}

export const EMPTY_FORM: Form = {
  action: "quantize",
  to: "deepseek-v3.1",
  dtype: "bf16",
  include: "",
  exclude: "",
  overrides: "",
  single: new Map(),
  keepsNotFinite: false,
};

/** Everything the page shows follows from these. */
export const stage: Signal<Stage> = signal("start");
export const name: Signal<string> = signal("");
/** The files or place that are open, so that other parts of the page can open them as well. */
export const chosen: Signal<ChosenCheckpoint | null> = signal(null);
export const opened: Signal<InspectedCheckpoint | null> = signal(null);
export const form: Signal<Form> = signal(EMPTY_FORM);
export const planned: Signal<PlannedOutput | null> = signal(null);
/** The choice that `planned` belongs to. The form may already hold another one. */
export const plannedChoice: Signal<ConversionChoice | null> = signal(null);
export const planProblem: Signal<Problem | null> = signal(null);
/** `null` until it has been measured. */
export const estimate: Signal<TimeEstimate | null> = signal(null);
export const conversionRun: Signal<RunState | null> = signal(null);
export const result: Signal<Result | null> = signal(null);
export const problem: Signal<Problem | null> = signal(null);
/** Things that the link to this page asks for and that do not exist. */
export const linkProblems: Signal<readonly Problem[]> = signal([]);
/** Why this window cannot hold an output, found out at the start of the visit. */
export const storageProblem: Signal<Problem | null> = signal(null);
/** Outputs of this visit and earlier ones that wait to be saved. */
export const unsaved: Signal<readonly UnsavedOutput[]> = signal([]);
/** Whether the output that is shown was handed to the downloads. */
export const isSaved: Signal<boolean> = signal(false);
/** The output that is being packed for a download. */
export const packing: Signal<string | null> = signal(null);
/** The action that waits for the dialog about an unsaved output; `null` while there is no dialog. */
export const leaving: Signal<(() => void) | null> = signal(null);
/** An unfinished run of an earlier visit was found and removed. */
export const wasCutOff: Signal<boolean> = signal(false);
/** The tensor in the side panel. */
export const selected: Signal<string | null> = signal(null);
/**
 * What the run has measured so far. It is replaced as a whole and only twice a second, since
 * each update copies thousands of names.
 */
export const measured: Signal<ReadonlyMap<string, Precision>> = signal(new Map());

/** Shows the problems of one part of the page; `forget` takes them away when that part is left. */
export function problemsOfView(): { show(found: Problem): void; forget(): void } {
  let newest: Problem | null = null;
  return {
    show(found) {
      newest = found;
      problem.value = found;
    },
    forget() {
      if (problem.value === newest) problem.value = null;
    },
  };
}

/** Changes fields of the form. */
export function changeForm(fields: Partial<Form>): void {
  form.value = { ...form.value, ...fields };
}

/** The overrides as typed; an empty list where they hold an error. */
export const overrides: ReadonlySignal<{
  readonly list: readonly Override[];
  readonly fault: Fault | null;
}> = computed(() => {
  const typed = form.value.overrides.trim();
  if (typed === "") return { list: [], fault: null };
  try {
    const list = parseOverrides("the text", typed);
    compileOverrides(list, dialects[MIXED]);
    return { list, fault: null };
  } catch (error) {
    if (!(error instanceof BlockscaleError)) throw error;
    return { list: [], fault: error.fault };
  }
});

/** The form as the coordinator wants it. */
export const choice: ReadonlySignal<ConversionChoice> = computed(() => {
  const { action, to, dtype, include, exclude, single } = form.value;
  const names = (wanted: boolean) =>
    [...single].flatMap(([name, converts]) => (converts === wanted ? [patternFor(name)] : []));
  const patterns = {
    include: action === "dequantize" ? linesOf(include) : [...linesOf(include), ...names(true)],
    exclude: [...linesOf(exclude), ...names(false)],
  };
  if (action === "dequantize") return { action, dtype, ...patterns };
  return { action, to, overrides: to === MIXED ? overrides.value.list : [], ...patterns };
});

/** Why a field of patterns cannot be used: a line that is no pattern; `null` where all are. */
export function patternFault(text: string): string | null {
  for (const line of linesOf(text)) {
    try {
      matcher(line);
    } catch {
      return line;
    }
  }
  return null;
}

/** Whether a field holds something unfinished or wrong: then no new plan is made. */
export const hasFieldFault: ReadonlySignal<boolean> = computed(() => {
  const { action, to, include, exclude } = form.value;
  return (
    patternFault(include) !== null ||
    patternFault(exclude) !== null ||
    (action === "quantize" && to === MIXED && overrides.value.fault !== null)
  );
});

/** Whether the output on show was saved nowhere, so that leaving it needs a question. */
export const isUnsaved: ReadonlySignal<boolean> = computed(
  () => stage.value === "done" && result.value?.id != null && !isSaved.value,
);

function linesOf(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}

/** A pattern that fits one name only. */
function patternFor(name: string): string {
  return `re:^${name.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")}$`;
}

/** Whether the plan on show belongs to the form as it is now. */
export const isPlanned: ReadonlySignal<boolean> = computed(
  () => planned.value !== null && plannedChoice.value === choice.value,
);

/** The output is a folder of several files. */
export const isFolder: ReadonlySignal<boolean> = computed(() => (planned.value?.files.length ?? 0) > 1);

/** How many tensors the plan converts or drops. */
export const changedTensors: ReadonlySignal<number> = computed(
  () => planned.value?.tensors.filter(({ action }) => action !== "copy").length ?? 0,
);

/** Name of the file that is written, where the output is one file. */
export const outputFileName: ReadonlySignal<string> = computed(() => {
  const { action, to, dtype } = form.value;
  const suffix = action === "dequantize" ? dtype : suffixOf(to);
  return `${name.value.replace(/\.safetensors$/, "")}-${suffix}.safetensors`;
});

/** Name of the output: of the file, or of the folder of several. */
export const outputName: ReadonlySignal<string> = computed(
  () => (isFolder.value ? name : outputFileName).value,
);

/** Name of a file of the output once it is saved. */
export function nameOfWritten({ name: file }: WrittenFile): string {
  return isFolder.value ? file : outputFileName.value;
}

/** The report of the run so far. */
export function summary(): Summary | null {
  const plan = planned.value;
  return plan === null ? null : summarize({ files: [], tensors: plan.tensors }, measured.value);
}

/** Name of a checkpoint before it is open: of its folder or file, or its address. */
export function nameOfChosen(chosen: ChosenCheckpoint): string {
  return chosen.kind === "files" ? chosen.name : chosen.place;
}

/** Back to the choice of files. */
export function closeCheckpoint(): void {
  batch(() => {
    stage.value = "start";
    opened.value = null;
    chosen.value = null;
    planned.value = null;
    plannedChoice.value = null;
    planProblem.value = null;
    estimate.value = null;
    result.value = null;
    conversionRun.value = null;
    selected.value = null;
    measured.value = new Map();
    form.value = EMPTY_FORM;
    linkProblems.value = [];
  });
}
