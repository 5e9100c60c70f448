import { effect } from "@preact/signals";
import { percent } from "../strings/format.ts";
import { runStatus, words } from "../strings/index.ts";
import { followAddress } from "./address.ts";
import { client, problemIn } from "./client.ts";
import { openLink } from "./opening.ts";
import { followChoice } from "./planning.ts";
import { conversionRun, isUnsaved, stage, storageProblem, unsaved, wasCutOff } from "./signals.ts";

/** Starts everything that runs for as long as the page is open. */
export function begin(): void {
  openLink();
  followAddress();
  client.call("tidy").then(
    (visit) => {
      wasCutOff.value = visit.wasCutOff;
      unsaved.value = visit.unsaved;
    },
    (error) => {
      const found = problemIn(error);
      if (found.kind === "storage") storageProblem.value = found;
    },
  );
  followChoice();
  effect(() => {
    const step = conversionRun.value?.step;
    const share = step === undefined || step.size === 0 ? 0 : step.bytes / step.size;
    runStatus.value =
      stage.value === "done" ? words.value.done.heading : step === undefined ? "" : percent(share);
  });
  // A browser opens files that are dropped outside of the drop area: it would leave the page, and end a run.
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
