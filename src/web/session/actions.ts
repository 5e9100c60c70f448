import { batch, effect } from "@preact/signals";
import type { DialectName } from "../../checkpoint/dialects/index.ts";
import type { Sample } from "../../checkpoint/measure/sample.ts";
import type { Precision } from "../../engine/precision.ts";
import { percent } from "../strings/format.ts";
import { doing, words } from "../strings/index.ts";
import { PageError } from "../workers/problem.ts";
import type {
  Chosen,
  Found,
  Looked,
  RunProgress,
  Target,
  TensorBasics,
  Written,
} from "../workers/protocol.ts";
import { followAddress, LINKABLE, type Origin, origin, query, takeFromAddress } from "./address.ts";
import { Client, inPieces, problemIn } from "./client.ts";
import { type ExampleName, fetchExample, isExample } from "./examples.ts";
import type { Selection } from "./files.ts";
import {
  changing,
  choice,
  chosen,
  EMPTY_FORM,
  estimate,
  forget,
  form,
  hasPatternFault,
  isFolder,
  isSaved,
  isUnsaved,
  kept,
  leaving,
  measured,
  name,
  opened,
  outputName,
  packing,
  planned,
  plannedChoice,
  planProblem,
  problem,
  result,
  run,
  savedName,
  stage,
  storageProblem,
  wasCutOff,
} from "./model.ts";
import { Pace } from "./pace.ts";
import { chooseTarget, download } from "./saving.ts";

const client = new Client(onProgress);
const pace = new Pace();

/** Milliseconds to wait for the next key before planning anew. */
const TYPING = 150;

/** Milliseconds between two updates of the figures of all tensors. */
const FIGURES = 500;

/** Everything that has to be going on as long as the page is there. */
export function begin(): void {
  openLink();
  followAddress();
  client.call("tidy").then(
    (visit) => {
      wasCutOff.value = visit.wasCutOff;
      kept.value = visit.kept;
    },
    (error) => {
      const found = problemIn(error);
      if (found.kind === "storage") storageProblem.value = found;
    },
  );
  let timer = 0;
  effect(() => {
    const wanted = choice.value;
    if (opened.value === null || stage.value !== "ready") return;
    // After a run the plan is still good.
    if (plannedChoice.peek() === wanted) return;
    clearTimeout(timer);
    if (hasPatternFault.value) return;
    const isWanted = () => stage.peek() === "ready" && plannedChoice.peek() !== wanted;
    timer = setTimeout(() => isWanted() && plan(wanted), planned.peek() === null ? 0 : TYPING);
  });
  effect(() => {
    const state = run.value;
    const part = state === null || state.size === 0 ? 0 : state.bytes / state.size;
    doing.value = stage.value === "done" ? words.value.done.heading : state === null ? "" : percent(part);
  });
  // Files dropped beside the place for them would replace the page, and a run with it.
  for (const type of ["dragover", "drop"] as const) {
    addEventListener(type, (event) => {
      if (!event.defaultPrevented && event.dataTransfer !== null) event.dataTransfer.dropEffect = "none";
      event.preventDefault();
    });
  }
  addEventListener("beforeunload", (event) => {
    if (stage.value === "running" || isUnsaved.value) event.preventDefault();
  });
}

/**
 * Files chosen together, as something to open; `null` where the user changed their mind.
 * @throws PageError `format`: there are no weights among them
 */
export function chosenOf(selection: Selection | null): Chosen | null {
  if (selection === null) return null;
  if (selection.files.length > 0) return { kind: "files", ...selection };
  const place = selection.name === "" ? {} : { facts: { place: selection.name } };
  throw new PageError("format", "There is no .safetensors file among what was chosen.", place);
}

/** Opens what was chosen and shows it; `null` where the user changed their mind. */
export async function open(choosing: Selection | Promise<Selection | null>): Promise<void> {
  try {
    const found = chosenOf(await choosing);
    if (found !== null) await show(found, null);
  } catch (error) {
    problem.value = problemIn(error);
  }
}

/** Opens a checkpoint on a server. */
export function openPlace(place: string, token: string): Promise<void> {
  const name = place.trim();
  const from: Origin | null = LINKABLE.test(name) ? { kind: "model", name } : null;
  return show({ kind: "place", place, token }, from);
}

/** Opens one of the checkpoints that are served beside the page. */
export function openExample(name: ExampleName): Promise<void> {
  return show(chosenExample(name), { kind: "example", name });
}

export async function chosenExample(name: ExampleName): Promise<Chosen> {
  return { kind: "files", name, files: await fetchExample(name) };
}

/** Opens what a link leads to, if it leads to a checkpoint. */
async function openLink(): Promise<void> {
  const params = query();
  const [place, example] = [params.get("model"), params.get("example")];
  if (isExample(example)) await openExample(example);
  else if (place !== null && LINKABLE.test(place)) await openPlace(place, "");
  else return;
  if (opened.value !== null) takeFromAddress(params);
}

function call(what: Chosen): Promise<Found> {
  return what.kind === "files"
    ? client.call("open", what.name, what.files)
    : client.call("openPlace", what.place, what.token);
}

async function show(choosing: Chosen | Promise<Chosen>, from: Origin | null): Promise<void> {
  problem.value = null;
  wasCutOff.value = false;
  stage.value = "opening";
  try {
    const what = await choosing;
    const found = await call(what);
    const tensors = await inPieces(found.tensors, (start, end) => client.call("inspected", start, end));
    batch(() => {
      const isQuantised = tensors.some(({ scaled }) => scaled !== null);
      form.value = { ...EMPTY_FORM, action: isQuantised ? "dequantize" : "quantize" };
      name.value = found.name;
      origin.value = from;
      chosen.value = what;
      opened.value = { ...found, inspection: { ...found.inspection, tensors } };
      stage.value = "ready";
    });
  } catch (error) {
    forget();
    problem.value = problemIn(error);
  }
}

let planning = 0;

async function plan(wanted: typeof choice.value): Promise<void> {
  const turn = ++planning;
  try {
    const found = await client.call("plan", wanted);
    const tensors = await inPieces(found.tensors, (start, end) => {
      if (turn !== planning) throw new Error("another plan is wanted by now");
      return client.call("planned", start, end);
    });
    if (turn !== planning) return;
    batch(() => {
      planned.value = { ...found, tensors };
      plannedChoice.value = wanted;
      planProblem.value = null;
      estimate.value = null;
    });
    const measurement = await client.call("estimate");
    if (turn === planning) estimate.value = measurement;
  } catch (error) {
    if (turn !== planning) return;
    const { kind, facts } = problemIn(error);
    if (kind === "not-finite" && form.peek().keepsNotFinite) {
      keep(facts!.tensor!);
      return;
    }
    batch(() => {
      planProblem.value = problemIn(error);
      // One tensor cannot be converted: what would become of the others stays in sight.
      if (kind !== "not-finite") plannedChoice.value = null;
      estimate.value = null;
    });
  }
}

/** Asks where to save, converts, and shows the result. */
export async function convert(): Promise<void> {
  problem.value = null;
  try {
    const target = await chooseTarget(isFolder.value, outputName.value);
    if (target !== null) await runTo(target);
  } catch (error) {
    problem.value = problemIn(error);
  }
}

/** Where a run went that met NaN or Inf; `null` where there was none. */
let interrupted: Target | null = null;

/** Marks a tensor as one to keep. */
function keep(tensor: string): void {
  form.value = { ...form.value, single: new Map(form.value.single).set(tensor, false) };
}

/**
 * Keeps a tensor that holds NaN or Inf as it is. A run that met it starts again without asking anything else, since every
 * place in its output would be another one.
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
    // What was to be a file has been removed with its handle.
    const target = before.kind === "file" ? await chooseTarget(false, outputName.value) : before;
    if (target === null) return;
    await plan(choice.value);
    if (planProblem.value === null && changing.value > 0) await runTo(target);
  } catch (error) {
    problem.value = problemIn(error);
  }
}

async function runTo(target: Target): Promise<void> {
  planning++; // what is being measured for an estimate is of no use any more
  interrupted = null;
  try {
    pending = new Map();
    batch(() => {
      measured.value = new Map();
      stage.value = "running";
      run.value = {
        phase: "convert",
        bytes: 0,
        size: planned.value!.size,
        tensor: "",
        isPaused: false,
        rate: null,
        left: null,
      };
    });
    pace.start();
    const { id, files } = await client.call("run", target, savedName.value);
    batch(() => {
      flush();
      isSaved.value = false;
      result.value = { id, written: files, seconds: pace.seconds() };
      stage.value = "done";
      run.value = null;
    });
  } catch (error) {
    const found = problemIn(error);
    const isNotFinite = found.kind === "not-finite";
    if (isNotFinite) interrupted = target;
    batch(() => {
      problem.value = found;
      measured.value = new Map();
      stage.value = "ready";
      run.value = null;
    });
    if (isNotFinite && form.value.keepsNotFinite && target.kind !== "file") {
      await keepAsIs(found.facts!.tensor!, true);
    }
  }
}

/** Does what would put an output out of sight, at once or when the user has said what is to become of it. */
export function leave(go: () => void): void {
  if (isUnsaved.value) leaving.value = go;
  else go();
}

/** Hands an output to the browser's downloads: a file, or several as one archive. @param name of the output */
export async function save(id: string, files: readonly Written[], name: string): Promise<void> {
  if (packing.value !== null) return;
  try {
    if (files.length === 1) download(files[0]!.file!, name);
    else {
      packing.value = id;
      download(await client.call("zip", name, files), `${name}.zip`);
    }
    await client.call("saved", id);
    if (result.value?.id === id) isSaved.value = true;
  } catch (error) {
    problem.value = problemIn(error);
  } finally {
    packing.value = null;
  }
}

/** Deletes a finished output for good. */
export async function remove(id: string): Promise<void> {
  await client.call("remove", id);
  await refreshKept();
}

/** Looks again which outputs wait to be saved. */
export async function refreshKept(): Promise<void> {
  kept.value = (await client.call("tidy")).kept;
}

/** Back to the choice of files. */
export function openAnother(): void {
  forget();
  refreshKept().catch(() => {});
}

let pending = new Map<string, Precision>();
let flushed = 0;

function flush(): void {
  measured.value = new Map([...measured.value, ...pending]);
  pending = new Map();
  flushed = performance.now();
}

function onProgress({ phase, bytes, size, tensor, measured: figures }: RunProgress): void {
  const before = run.value;
  if (before === null) return;
  for (const [weight, precision] of figures) pending.set(weight, precision);
  batch(() => {
    if (pending.size > 0 && performance.now() - flushed > FIGURES) flush();
    const { rate, left } = phase === "convert" ? pace.at(bytes, size) : { rate: null, left: null };
    run.value = { phase, bytes, size, tensor, isPaused: before.isPaused, rate, left };
  });
}

export async function pause(): Promise<void> {
  if (run.value === null) return;
  run.value = { ...run.value, isPaused: true };
  pace.pause();
  await client.call("pause");
}

export async function resume(): Promise<void> {
  if (run.value === null) return;
  run.value = { ...run.value, isPaused: false };
  pace.resume();
  await client.call("resume");
}

export function cancel(): Promise<void> {
  return client.call("cancel");
}

/** Back from a result to the settings. */
export function again(): void {
  batch(() => {
    stage.value = "ready";
    result.value = null;
    measured.value = new Map();
  });
}

/** What a report shows besides figures. */
export function look(): Promise<Looked> {
  return client.call("look");
}

/** What the values of a tensor are. */
export function basics(tensor: string): Promise<TensorBasics> {
  return client.call("basics", tensor);
}

/** A tensor as a file of NumPy; `null` where NumPy has no such type. */
export function npy(tensor: string): Promise<Blob | null> {
  return client.call("npy", tensor);
}

export function sample(tensor: string, names: readonly DialectName[], whole: boolean): Promise<Sample[]> {
  return client.call("sample", tensor, names, whole);
}
