import { batch, effect } from "@preact/signals";
import { client, inPieces, problemIn } from "./client.ts";
import {
  choice,
  estimate,
  form,
  hasFieldFault,
  opened,
  planned,
  plannedChoice,
  planProblem,
  stage,
} from "./signals.ts";

/** Milliseconds to wait for the next key before planning anew. */
const TYPING = 150;

/** From now on, makes a new plan whenever the form changes. */
export function followChoice(): void {
  let timer = 0;
  effect(() => {
    const wanted = choice.value;
    if (opened.value === null || stage.value !== "ready") return;
    // After a run the plan is still valid.
    if (plannedChoice.peek() === wanted) return;
    clearTimeout(timer);
    if (hasFieldFault.value) return;
    const isWanted = () => stage.peek() === "ready" && plannedChoice.peek() !== wanted;
    timer = setTimeout(() => isWanted() && plan(wanted), planned.peek() === null ? 0 : TYPING);
  });
}

/** Number of the newest plan: answers to earlier ones are ignored. */
let planning = 0;

export async function plan(wanted: typeof choice.value): Promise<void> {
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
      // Only one tensor cannot be converted: the plan of the others stays on show.
      if (kind !== "not-finite") plannedChoice.value = null;
      estimate.value = null;
    });
  }
}

/** Ignores plans and measurements that are still under way. */
export function stopPlanning(): void {
  planning++;
}

/** Marks a tensor as one to keep. */
export function keep(tensor: string): void {
  form.value = { ...form.value, single: new Map(form.value.single).set(tensor, false) };
}
