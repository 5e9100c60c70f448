import { batch } from "@preact/signals";
import { PageError } from "../workers/problem.ts";
import type { ChosenCheckpoint } from "../workers/protocol.ts";
import {
  LINKABLE,
  type Origin,
  origin,
  query,
  refuseLink,
  takeFromAddress,
  view,
  viewIn,
} from "./address.ts";
import { client, inPieces, problemIn } from "./client.ts";
import { type ExampleName, fetchExample, isExample } from "./examples.ts";
import type { ChosenFiles } from "./files.ts";
import {
  chosen,
  closeCheckpoint,
  EMPTY_FORM,
  form,
  name,
  opened,
  problem,
  stage,
  wasCutOff,
} from "./signals.ts";

/**
 * Files chosen together, as something to open; `null` where the user changed their mind.
 * @throws PageError `format`: there are no weights among them
 */
export function checkpointIn(selection: ChosenFiles | null): ChosenCheckpoint | null {
  if (selection === null) return null;
  if (selection.files.length > 0) return { kind: "files", ...selection };
  const place = selection.name === "" ? {} : { facts: { place: selection.name } };
  throw new PageError("format", "There is no .safetensors file among what was chosen.", place);
}

/** Opens what was chosen and shows it; `null` where the user changed their mind. */
export async function open(choosing: ChosenFiles | Promise<ChosenFiles | null>): Promise<void> {
  try {
    const found = checkpointIn(await choosing);
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

export async function chosenExample(name: ExampleName): Promise<ChosenCheckpoint> {
  return { kind: "files", name, files: await fetchExample(name) };
}

/** Opens what a link leads to, if it leads to a checkpoint. */
export async function openLink(): Promise<void> {
  const params = query();
  const [place, example, part] = ["model", "example", "view"].map((name) => params.get(name));
  if (part != null && viewIn(params) !== part) refuseLink({ place: part });
  if (isExample(example)) await openExample(example);
  else if (example != null) return refuseLink({ place: example });
  else if (place == null) return;
  else if (LINKABLE.test(place)) await openPlace(place, "");
  else return refuseLink({ place });
  // The other parts of the page read the address themselves.
  if (opened.value !== null && view.value === "convert") takeFromAddress(params);
}

async function show(
  choosing: ChosenCheckpoint | Promise<ChosenCheckpoint>,
  from: Origin | null,
): Promise<void> {
  problem.value = null;
  wasCutOff.value = false;
  stage.value = "opening";
  try {
    const what = await choosing;
    const found = await client.call("open", what);
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
    closeCheckpoint();
    problem.value = problemIn(error);
  }
}
