import { type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { kindOf } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { Handles } from "./handles.ts";
import { partialName, SIGN_OF_LIFE_MILLISECONDS } from "./partial-files.ts";
import type { Source } from "./source.ts";

/** A file on disk as a source. `fs.openAsBlob` reports sizes modulo 2^32: this reads by position. */
export interface FileSource extends Source {
  readonly path: string;
  /** Time of the file's last change, in milliseconds since 1970. */
  readonly modified: number;
  /** Permissions: the last nine bits of the file's mode. */
  readonly mode: number;
  checkUnchanged(): Promise<void>;
  close(): Promise<void>;
}

/** A BlockscaleError for an error of the operating system. */
export function systemFault(where: string, expected: string, cause: unknown): BlockscaleError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const words: { [code: string]: [got: string, fix: string] } = {
    ENOENT: ["no such file or folder", "Check the path."],
    EACCES: ["permission denied", "Check the permissions."],
    EPERM: ["permission denied", "Check the permissions."],
    EISDIR: ["a folder", "Give the path of a file."],
    EEXIST: ["a file of that name", "Choose another name."],
    ENOTDIR: ["a file where a folder should be", "Check the path."],
    ENOSPC: ["a full disk", "Free some space, then run the same command again."],
    EDQUOT: ["an exhausted quota", "Free some space, then run the same command again."],
    EFBIG: ["a file larger than the file system allows", "Choose another place."],
    EROFS: ["a read-only file system", "Choose another place."],
    EMFILE: ["too many open files", "Raise the limit (ulimit -n)."],
  };
  const [got, fix] = words[code ?? ""] ?? [message, "Check the disk and the path."];
  return new BlockscaleError("io", { where, expected, got, fix }, { cause });
}

/** Size, time of the last change and permissions of a file or folder. Its contents are not read. */
export async function fileFacts(
  path: string,
): Promise<{ size: number; modified: number; mode: number; isFolder: boolean }> {
  checkPath(path);
  try {
    const found = await stat(path);
    if (!found.isFile() && !found.isDirectory()) throw new Error("neither a file nor a folder");
    const { size, mtimeMs, mode } = found;
    return { size, modified: mtimeMs, mode: mode & 0o777, isFolder: found.isDirectory() };
  } catch (cause) {
    throw systemFault(path, "a readable file or folder", cause);
  }
}

/** @throws BlockscaleError `option`: no path, but a URL object or nothing at all */
function checkPath(path: string): void {
  if (typeof path === "string") return;
  throw new BlockscaleError("option", {
    where: "path",
    expected: "the path of a file or folder, as a string",
    got: (path as unknown) instanceof URL ? "a URL object" : kindOf(path),
    fix: "For the URL of a file pass fileURLToPath(url) of node:url.",
  });
}

/** Files that a thread holds open for reading: weights and scales, of this shard and the next. */
const handles = new Handles<FileHandle>(4);

/**
 * A regular file for reading. It is opened when read, and closed when other files are, so that a
 * folder of many files costs few descriptors.
 * @throws BlockscaleError `io`; also where a file was replaced or written to before it was opened again
 */
export async function openFile(path: string): Promise<FileSource> {
  const { size, modified, mode, isFolder } = await fileFacts(path);
  if (isFolder) throw systemFault(path, "a readable file", { code: "EISDIR" });
  const owner = {};
  const reopen = async () => {
    const handle = await open(path, "r");
    const now = await handle.stat();
    if (now.size === size && now.mtimeMs === modified) return handle;
    await handle.close();
    throw changedFault(path);
  };
  const read = async (start: number, into: Uint8Array) => {
    try {
      return await handles.use(owner, reopen, (handle) => readAt(handle, start, into));
    } catch (cause) {
      if (cause instanceof BlockscaleError) throw cause;
      throw systemFault(path, `bytes ${start} to ${start + into.length}`, cause);
    }
  };
  return {
    path,
    size,
    modified,
    mode,
    slice: (start, end) => ({
      arrayBuffer: async () => {
        const bytes = new Uint8Array(end - start);
        const done = await read(start, bytes);
        return done === bytes.length ? bytes.buffer : bytes.buffer.slice(0, done);
      },
    }),
    read,
    checkUnchanged: async () => {
      const now = await fileFacts(path);
      if (now.size !== size || now.modified !== modified) throw changedFault(path);
    },
    close: () => handles.close(owner),
  };
}

/** The error for a file that changed while it was read: what was read is a mixture of two versions. */
function changedFault(path: string): BlockscaleError {
  return new BlockscaleError("io", {
    where: path,
    expected: "an input that stays as it is",
    got: "a file that changed while it was read",
    fix: "Wait until it is complete, then run the same command again.",
  });
}

async function readAt(handle: FileHandle, start: number, into: Uint8Array): Promise<number> {
  let done = 0;
  while (done < into.length) {
    const { bytesRead } = await handle.read(into, done, into.length - done, start + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

/**
 * Bytes after which the disk is told to write what it has been given, while more is
 * made: little is left to wait for at the end.
 */
const FLUSHED = 1 << 24;

/**
 * A stream into a file that appears under its name only when it is whole: written beside it, synced, renamed.
 * Aborted or failed, it leaves nothing.
 * @param beforeRename called when every byte is safe on disk; the file appears when it is done
 * @param mode who may read, write and run it; what the system gives to new files if left out
 * @throws BlockscaleError `io`
 */
export async function createFile(
  path: string,
  beforeRename?: () => Promise<void>,
  mode?: number,
): Promise<WritableStream<Uint8Array>> {
  checkPath(path);
  const partial = join(dirname(path), partialName(basename(path)));
  let handle: FileHandle;
  try {
    handle = await open(partial, "wx");
  } catch (cause) {
    throw systemFault(path, "a file that can be written", cause);
  }
  let unflushed = 0;
  let flush = Promise.resolve();
  const write = async (chunk: Uint8Array) => {
    await writeAll(handle, chunk);
    unflushed += chunk.length;
    if (unflushed < FLUSHED) return;
    unflushed = 0;
    await flush;
    flush = handle.datasync();
    // A failure is met where it is waited for.
    flush.catch(() => {});
  };
  // A sign of life for runs on other hosts, which cannot see this process.
  const life = setInterval(() => {
    const now = new Date();
    handle.utimes(now, now).catch(() => {});
  }, SIGN_OF_LIFE_MILLISECONDS).unref();
  const discard = async () => {
    clearInterval(life);
    await handle.close().catch(() => {});
    await rm(partial, { force: true });
  };
  const guard = async (work: () => Promise<void>) => {
    try {
      await work();
    } catch (cause) {
      await discard();
      throw cause instanceof BlockscaleError ? cause : systemFault(path, "a file that can be written", cause);
    }
  };
  return new WritableStream({
    write: (chunk) => guard(() => write(chunk)),
    close: () =>
      guard(async () => {
        clearInterval(life);
        await flush;
        await handle.sync();
        // File systems without modes refuse, or ignore it.
        if (mode !== undefined) await handle.chmod(mode).catch(() => {});
        await handle.close();
        await beforeRename?.();
        await rename(partial, path);
        await syncFolder(dirname(path));
      }),
    abort: discard,
  });
}

/** Writes a small text as a file that appears only when it is whole. */
export async function writeText(path: string, text: string): Promise<void> {
  await new Blob([text]).stream().pipeTo(await createFile(path));
}

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let done = 0; done < chunk.length; ) {
    done += (await handle.write(chunk, done, chunk.length - done)).bytesWritten;
  }
}

/**
 * Makes a folder and those it lies in. Node's own recursion says of a
 * read-only system that a folder is missing.
 * @throws BlockscaleError `io`
 */
export async function makeFolder(path: string): Promise<void> {
  const isThere = async () => (await stat(path).catch(() => null))?.isDirectory() === true;
  if (await isThere()) return;
  if (dirname(path) !== path) await makeFolder(dirname(path));
  try {
    await mkdir(path);
  } catch (cause) {
    // Another run may have been quicker.
    if (!(await isThere())) throw systemFault(path, "a folder that can be written", cause);
  }
}

/** Syncs of folders that have not begun yet. */
const upcoming = new Map<string, Promise<void>>();
let syncing: Promise<void> = Promise.resolve();

/**
 * Makes a rename survive a power cut, where the system lets folders be synced. One sync serves all renames
 * that came before it: of files made side by side, several share one.
 */
function syncFolder(path: string): Promise<void> {
  const found = upcoming.get(path);
  if (found !== undefined) return found;
  const sync = syncing.then(() => {
    upcoming.delete(path);
    return syncNow(path);
  });
  upcoming.set(path, sync);
  syncing = sync.catch(() => {});
  return sync;
}

async function syncNow(path: string): Promise<void> {
  const folder = await open(path, "r").catch(() => null);
  await folder?.sync().catch(() => {});
  await folder?.close();
}

/** Whether two paths are one file, also through symbolic and hard links. */
export async function isSameFile(a: string, b: string): Promise<boolean> {
  const [first, second] = await Promise.all(
    [a, b].map((path) => stat(path, { bigint: true }).catch(() => null)),
  );
  return first != null && second != null && first.dev === second.dev && first.ino === second.ino;
}
