import { batch } from "@preact/signals";
import type { Precision } from "../../engine/precision.ts";
import type { RunProgress, Target } from "../workers/protocol.ts";
import { client, problemIn } from "./client.ts";
import { keep, plan, stopPlanning } from "./planning.ts";
import { RateMeter } from "./rate-meter.ts";
import { chooseTarget } from "./saving.ts";
import {
  changedTensors,
  choice,
  conversionRun,
  form,
  isFolder,
  isSaved,
  measured,
  outputFileName,
  outputName,
  planned,
  planProblem,
  problem,
  result,
  stage,
} from "./signals.ts";

const meter = new RateMeter();
client.onProgress = onProgress;

/** Milliseconds between two updates of the figures of all tensors. */
const FIGURES = 500;

/** Asks where to save, converts, and shows the result. */
export async function convert(): Promise<void> {
  problem.value = null;
  try {
    const target = await chooseTarget(isFolder.value, outputFileName.value);
    if (target !== null) await runTo(target);
  } catch (error) {
    problem.value = problemIn(error);
  }
}

/** The destination of a run that met NaN or Inf; `null` where there was none. */
let interrupted: Target | null = null;

/**
 * Keeps a tensor that holds NaN or Inf as it is. A run that was stopped by it starts again from the
 * beginning, since the offsets of all tensors in the output change. Nothing else is asked.
 * @param all whether to do the same with all others, without asking
 */
export async function keepAsIs(tensor: string, all: boolean): Promise<void> {
  const before = interrupted;
  interrupted = null;
  batch(() => {
    form.value = { ...form.value, keepsNotFinite: all || form.value.keepsNotFinite };
    keep(tensor);
    problem.value = null;
    planProblem.value = null;
  });
  if (before === null) return;
  try {
    // The run removed its unfinished file, so the user chooses a file again.
    const target = before.kind === "file" ? await chooseTarget(false, outputFileName.value) : before;
    if (target === null) return;
    await plan(choice.value);
    if (planProblem.value === null && changedTensors.value > 0) await runTo(target);
  } catch (error) {
    problem.value = problemIn(error);
  }
}

async function runTo(target: Target): Promise<void> {
  stopPlanning(); // a measurement for the estimate is no longer needed
  interrupted = null;
  try {
    pending = new Map();
    batch(() => {
      measured.value = new Map();
      stage.value = "running";
      conversionRun.value = {
        step: { phase: "convert", tensor: "", bytes: 0, size: planned.value!.size },
        isPaused: false,
        rate: null,
        left: null,
      };
    });
    meter.start();
    const { id, files } = await client.call("run", target, outputName.value);
    batch(() => {
      flush();
      isSaved.value = false;
      result.value = { id, written: files, seconds: meter.seconds() };
      stage.value = "done";
      conversionRun.value = null;
    });
  } catch (error) {
    const found = problemIn(error);
    const isNotFinite = found.kind === "not-finite";
    if (isNotFinite) interrupted = target;
    batch(() => {
      problem.value = found;
      measured.value = new Map();
      stage.value = "ready";
      conversionRun.value = null;
    });
    if (isNotFinite && form.value.keepsNotFinite && target.kind !== "file") {
      await keepAsIs(found.facts!.tensor!, true);
    }
  }
}

/** Precision of tensors that the page does not show yet. */
let pending = new Map<string, Precision>();
/** Time of the last update. */
let flushed = 0;

function flush(): void {
  measured.value = new Map([...measured.value, ...pending]);
  pending = new Map();
  flushed = performance.now();
}

function onProgress({ step, measured: figures }: RunProgress): void {
  const before = conversionRun.value;
  if (before === null) return;
  for (const [weight, precision] of figures) pending.set(weight, precision);
  batch(() => {
    if (pending.size > 0 && performance.now() - flushed > FIGURES) flush();
    const { rate, left } =
      step.phase === "convert" ? meter.at(step.bytes, step.size) : { rate: null, left: null };
    conversionRun.value = { step, isPaused: before.isPaused, rate, left };
  });
}

export async function pause(): Promise<void> {
  if (conversionRun.value === null) return;
  conversionRun.value = { ...conversionRun.value, isPaused: true };
  meter.pause();
  await client.call("pause");
}

export async function resume(): Promise<void> {
  if (conversionRun.value === null) return;
  conversionRun.value = { ...conversionRun.value, isPaused: false };
  meter.resume();
  await client.call("resume");
}

export function cancel(): Promise<void> {
  return client.call("cancel");
}

/** Back from a result to the settings. */
export function backToForm(): void {
  batch(() => {
    stage.value = "ready";
    result.value = null;
    measured.value = new Map();
  });
}
