import type { NamedFile } from "../workers/protocol.ts";
import type { pickers } from "./pickers.ts";

/** Files chosen together, and what to call them. */
export interface ChosenFiles {
  readonly name: string;
  readonly files: readonly NamedFile[];
}

/** Hidden files and folders are no part of a model. */
const isHidden = (path: string): boolean => path.split("/").some((part) => part.startsWith("."));

function chosenFiles(name: string | null, files: readonly NamedFile[]): ChosenFiles {
  const visible = files.filter(({ path }) => !isHidden(path));
  const weights = visible.filter(({ path }) => path.endsWith(".safetensors"));
  // Shards of one model are named model-00001-of-00002.safetensors.
  const title = name ?? weights[0]?.path.replace(/-\d+-of-\d+\.safetensors$/, "") ?? "";
  // A single file of another kind is opened too: its first bytes tell what it is, for the message.
  if (weights.length === 0 && visible.length === 1 && !visible[0]!.path.endsWith(".json")) {
    return { name: visible[0]!.path, files: visible };
  }
  return { name: title || (visible[0]?.path ?? ""), files: weights.length === 0 ? [] : visible };
}

/** Files of an `<input>`; those of a folder know their path in it. */
export function fromInput(list: FileList): ChosenFiles {
  const files = [...list];
  const folder = files[0]?.webkitRelativePath.split("/")[0];
  return chosenFiles(
    folder || null,
    files.map((file) => ({ path: file.webkitRelativePath.split("/").slice(1).join("/") || file.name, file })),
  );
}

/**
 * What was dropped: files, or folders with everything in them. Must
 * be called before the drop event has ended.
 */
export async function fromDrop({ items }: DataTransfer): Promise<ChosenFiles> {
  const entries = [...items].flatMap((item) => item.webkitGetAsEntry() ?? []);
  const isOneFolder = entries.length === 1 && entries[0]!.isDirectory;
  const found = await Promise.all(entries.map((entry) => filesUnder(entry, isOneFolder ? "" : entry.name)));
  return chosenFiles(isOneFolder ? entries[0]!.name : null, found.flat());
}

async function filesUnder(entry: FileSystemEntry, path: string): Promise<NamedFile[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    );
    return [{ path, file }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const children: FileSystemEntry[] = [];
  // Chromium hands out a hundred entries at a time.
  for (;;) {
    const batch = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (batch.length === 0) break;
    children.push(...batch);
  }
  const below = (child: FileSystemEntry) => (path === "" ? child.name : `${path}/${child.name}`);
  return (await Promise.all(children.map((child) => filesUnder(child, below(child))))).flat();
}

/** Asks for a folder, where the browser has this question; `null` where the user changed their mind. */
export async function fromPicker(
  pick: NonNullable<typeof pickers.showDirectoryPicker>,
): Promise<ChosenFiles | null> {
  let folder: FileSystemDirectoryHandle;
  try {
    folder = await pick.call(window, { mode: "read" });
  } catch (error) {
    if ((error as DOMException).name === "AbortError") return null;
    throw error;
  }
  return chosenFiles(folder.name, await filesIn(folder, ""));
}

async function filesIn(folder: FileSystemDirectoryHandle, path: string): Promise<NamedFile[]> {
  const files: NamedFile[] = [];
  for await (const [name, handle] of folder) {
    if (isHidden(name)) continue;
    if (handle.kind === "directory") {
      files.push(...(await filesIn(handle as FileSystemDirectoryHandle, `${path}${name}/`)));
    } else {
      files.push({ path: path + name, file: await (handle as FileSystemFileHandle).getFile() });
    }
  }
  return files;
}
