import { PageError } from "./problem.ts";
import type { StorageState, UnsavedOutput, WrittenFile } from "./protocol.ts";

/** Prefix of our folders in the origin private file system. */
const PREFIX = "blockscale-";

/** The file that marks a finished run and lists its outputs. It is hidden, which no output is. */
const FINISHED = ".done";

/** Marks a folder whose output was handed to the browser's downloads. */
const SAVED = ".saved";

/** The record of a finished run. */
interface FinishedRecord {
  readonly name: string;
  /** Time of its end, in milliseconds since 1970. */
  readonly time: number;
  readonly files: readonly Omit<WrittenFile, "file">[];
}

/** A run's folder, while the run goes on. */
export interface RunFolder {
  readonly id: string;
  readonly folder: FileSystemDirectoryHandle;
  /** Marks the folder as complete, and gives it a name. */
  finish(name: string, files: readonly WrittenFile[]): Promise<void>;
  /** Removes the folder. */
  discard(): Promise<void>;
}

/** Bytes that must stay free, since browsers count only roughly. */
const SPARE = 16 * 2 ** 20;

/** @throws PageError `storage`: this window gives pages no place for files */
async function openRoot(): Promise<FileSystemDirectoryHandle> {
  const why = "The origin private file system is missing";
  if (navigator.storage?.getDirectory === undefined || typeof FileSystemSyncAccessHandle === "undefined") {
    throw new PageError("storage", `${why}.`);
  }
  try {
    return await navigator.storage.getDirectory();
  } catch (cause) {
    throw new PageError("storage", `${why}: ${cause}.`, { cause });
  }
}

/**
 * The origin private file system as a place for outputs on their way to a download. Each run has
 * a folder, and its tab holds a lock of the folder's name for as long as it lives. A folder
 * without a lock belongs to nobody: it is removed where its run never ended or its output was
 * saved, and offered again where the output was not.
 */
export class OutputStorage {
  private readonly own = new Map<string, () => void>();

  /**
   * Makes a folder for `size` bytes; where there is too little room, outputs
   * of this tab that were saved are removed.
   * @throws PageError `space`, `storage`
   */
  async begin(size: number): Promise<RunFolder> {
    const root = await openRoot();
    let free = await freeBytes();
    if (size > 0 && free < size + SPARE) {
      for (const id of this.own.keys()) {
        const folder = await root.getDirectoryHandle(id).catch(() => null);
        if (folder === null || (await has(folder, SAVED))) await this.remove(id);
      }
      free = await freeBytes();
    }
    if (size > 0 && free < size + SPARE) {
      throw new PageError("space", `The output needs ${size} bytes; the browser gives this page ${free}.`);
    }
    const id = `${PREFIX}${crypto.randomUUID()}`;
    this.own.set(id, await hold(id));
    const folder = await root.getDirectoryHandle(id, { create: true });
    return {
      id,
      folder,
      finish: async (name, written) => {
        const files = written.map(({ file: _, ...facts }) => facts);
        await writeRecord(folder, { name, time: Date.now(), files });
      },
      discard: () => this.remove(id),
    };
  }

  /** Removes a run with its output. */
  async remove(id: string): Promise<void> {
    const root = await openRoot();
    await root.removeEntry(id, { recursive: true }).catch(() => {});
    this.own.get(id)?.();
    this.own.delete(id);
  }

  /**
   * Notes that an output was handed to the downloads: it stays until this tab is closed or converts again.
   */
  async saved(id: string): Promise<void> {
    const root = await openRoot();
    if (!this.own.has(id)) this.own.set(id, await hold(id));
    const folder = await root.getDirectoryHandle(id);
    await folder.getFileHandle(SAVED, { create: true });
  }

  /**
   * Removes unfinished and saved outputs of closed tabs, and lists the outputs that are not saved.
   * @throws PageError `storage`
   */
  async tidy(): Promise<StorageState> {
    const root = await openRoot();
    let wasCutOff = false;
    const kept: UnsavedOutput[] = [];
    for await (const [id, handle] of root) {
      if (!id.startsWith(PREFIX) || handle.kind !== "directory") continue;
      const folder = handle as FileSystemDirectoryHandle;
      if (this.own.has(id)) {
        if (!(await has(folder, SAVED))) kept.push(...(await readFinished(id, folder)));
        continue;
      }
      await navigator.locks.request(id, { ifAvailable: true }, async (lock) => {
        if (lock === null) return;
        const [found] = await readFinished(id, folder);
        const isSaved = await has(folder, SAVED);
        if (found !== undefined && !isSaved) {
          kept.push(found);
          return;
        }
        if (found === undefined && !isSaved) wasCutOff = true;
        await root.removeEntry(id, { recursive: true }).catch(() => {});
      });
    }
    return { wasCutOff, unsaved: kept.sort((a, b) => b.time - a.time) };
  }
}

/** What the browser says is left. Safari 16 has no estimate. */
async function freeBytes(): Promise<number> {
  const { quota, usage } = (await navigator.storage.estimate?.()) ?? {};
  return (quota ?? Infinity) - (usage ?? 0);
}

function has(folder: FileSystemDirectoryHandle, name: string): Promise<boolean> {
  return folder.getFileHandle(name).then(
    () => true,
    () => false,
  );
}

async function writeRecord(folder: FileSystemDirectoryHandle, record: FinishedRecord): Promise<void> {
  const handle = await folder.getFileHandle(FINISHED, { create: true });
  const access = await handle.createSyncAccessHandle();
  access.write(new TextEncoder().encode(JSON.stringify(record)), { at: 0 });
  access.flush();
  access.close();
}

/**
 * The output in a folder with its files; nothing where the run did
 * not end, or a file is not what was written.
 */
async function readFinished(id: string, folder: FileSystemDirectoryHandle): Promise<UnsavedOutput[]> {
  try {
    const record = await (await folder.getFileHandle(FINISHED)).getFile();
    const { name, time, files } = JSON.parse(await record.text()) as FinishedRecord;
    const written = await Promise.all(
      files.map(async (facts) => {
        const parts = facts.name.split("/");
        let parent = folder;
        for (const part of parts.slice(0, -1)) parent = await parent.getDirectoryHandle(part);
        const file = await (await parent.getFileHandle(parts.at(-1)!)).getFile();
        if (file.size !== facts.size) throw new Error(`${facts.name} has another size`);
        return { ...facts, file };
      }),
    );
    return [{ id, name, time, files: written }];
  } catch {
    return [];
  }
}

/** Takes a lock. @returns a function that releases it */
function hold(name: string): Promise<() => void> {
  return new Promise((resolve, reject) => {
    navigator.locks.request(name, () => new Promise<void>((unlock) => resolve(unlock))).catch(reject);
  });
}
