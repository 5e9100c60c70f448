import { PageError } from "./problem.ts";

/** Prefix of our folders in the origin private file system. */
const PREFIX = "blockscale-";

/** Marks a folder whose run came to its end. */
const DONE = "done";

/** A run's folder, while the run goes on. */
export interface Job {
  readonly folder: FileSystemDirectoryHandle;
  /** Says that everything in the folder is whole. */
  finish(): Promise<void>;
  /** Removes the folder. */
  discard(): Promise<void>;
}

/** Space left for fluctuations of what the browser counts. */
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
 * The origin private file system as a place for outputs on their way to a download. Each run has a folder and holds a
 * lock of its name for as long as the tab lives: a folder without a lock belongs to nobody and is removed.
 */
export class PrivateStorage {
  private readonly own = new Map<string, () => void>();

  /**
   * Makes a folder for `size` bytes; what earlier runs of this tab left is removed first.
   * @throws PageError `space`, `storage`
   */
  async begin(size: number): Promise<Job> {
    const root = await openRoot();
    for (const [name, unlock] of this.own) {
      await root.removeEntry(name, { recursive: true }).catch(() => {});
      unlock();
      this.own.delete(name);
    }
    // Safari 16 has no estimate.
    const { quota, usage } = (await navigator.storage.estimate?.()) ?? {};
    const free = (quota ?? Infinity) - (usage ?? 0);
    if (size > 0 && free < size + SPARE) {
      throw new PageError("space", `The output needs ${size} bytes; the browser gives this page ${free}.`);
    }
    const name = `${PREFIX}${crypto.randomUUID()}`;
    this.own.set(name, await hold(name));
    const folder = await root.getDirectoryHandle(name, { create: true });
    return {
      folder,
      finish: async () => {
        await folder.getFileHandle(DONE, { create: true });
      },
      discard: async () => {
        await root.removeEntry(name, { recursive: true }).catch(() => {});
        this.own.get(name)?.();
        this.own.delete(name);
      },
    };
  }

  /**
   * Removes what closed tabs left; `true` where one of them was closed before its run had ended.
   * @throws PageError `storage`
   */
  async tidy(): Promise<boolean> {
    const root = await openRoot();
    let wasCutOff = false;
    for await (const [name, handle] of root) {
      if (!name.startsWith(PREFIX) || handle.kind !== "directory") continue;
      await navigator.locks.request(name, { ifAvailable: true }, async (lock) => {
        if (lock === null) return;
        const isDone = await (handle as FileSystemDirectoryHandle).getFileHandle(DONE).then(
          () => true,
          () => false,
        );
        if (!isDone) wasCutOff = true;
        await root.removeEntry(name, { recursive: true }).catch(() => {});
      });
    }
    return wasCutOff;
  }
}

/** Takes a lock; the answer gives it back. */
function hold(name: string): Promise<() => void> {
  return new Promise((resolve, reject) => {
    navigator.locks.request(name, () => new Promise<void>((unlock) => resolve(unlock))).catch(reject);
  });
}
