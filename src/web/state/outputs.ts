import type { WrittenFile } from "../workers/protocol.ts";
import { client, problemIn } from "./client.ts";
import { download } from "./saving.ts";
import {
  closeCheckpoint,
  isSaved,
  isUnsaved,
  leaving,
  packing,
  problem,
  result,
  unsaved,
} from "./signals.ts";

/** Runs an action that hides the current output. If the output is not saved, the user is asked first. */
export function leave(go: () => void): void {
  if (isUnsaved.value) leaving.value = go;
  else go();
}

/**
 * Hands an output to the browser's downloads: a file, or several as one archive. @param name of the output
 * @returns whether nothing went wrong
 */
export async function save(id: string, files: readonly WrittenFile[], name: string): Promise<boolean> {
  if (packing.value !== null) return true;
  try {
    if (files.length === 1) download(files[0]!.file!, name);
    else {
      packing.value = id;
      download(await client.call("zip", name, files), `${name}.zip`);
    }
    await client.call("saved", id);
    if (result.value?.id === id) isSaved.value = true;
    return true;
  } catch (error) {
    problem.value = problemIn(error);
    return false;
  } finally {
    packing.value = null;
  }
}

/** Deletes a finished output for good. @returns whether it is gone */
export async function remove(id: string): Promise<boolean> {
  try {
    await client.call("remove", id);
    await refreshUnsaved();
    return true;
  } catch (error) {
    problem.value = problemIn(error);
    return false;
  }
}

/** Reads again which outputs are not saved yet. */
async function refreshUnsaved(): Promise<void> {
  unsaved.value = (await client.call("tidy")).unsaved;
}

/** Back to the choice of files. */
export function openAnother(): void {
  closeCheckpoint();
  refreshUnsaved().catch(() => {});
}
