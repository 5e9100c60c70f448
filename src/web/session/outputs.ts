import type { WrittenFile } from "../workers/protocol.ts";
import { client, problemIn } from "./client.ts";
import { forget, isSaved, isUnsaved, kept, leaving, packing, problem, result } from "./model.ts";
import { download } from "./saving.ts";

/** Does what would put an output out of sight, at once or when the user has said what is to become of it. */
export function leave(go: () => void): void {
  if (isUnsaved.value) leaving.value = go;
  else go();
}

/**
 * Hands an output to the browser's downloads: a file, or several as one archive. @param name of the output
 */
export async function save(id: string, files: readonly WrittenFile[], name: string): Promise<void> {
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
