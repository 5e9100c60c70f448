import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { BlockscaleError } from "../errors.ts";
import type { Source } from "./source.ts";

/** A file on disk as a source. `fs.openAsBlob` reports sizes modulo 2^32: this reads by position. */
export interface FileSource extends Source {
  readonly path: string;
  close(): Promise<void>;
}

/** What the system says went wrong, as an error of ours. */
export function systemFault(where: string, expected: string, cause: unknown): BlockscaleError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const words: { [code: string]: [got: string, fix: string] } = {
    ENOENT: ["no such file or folder", "Check the path."],
    EACCES: ["permission denied", "Check the permissions."],
    EPERM: ["permission denied", "Check the permissions."],
    EISDIR: ["a folder", "Give the path of a file."],
    ENOTDIR: ["a file where a folder should be", "Check the path."],
    ENOSPC: ["a full disk", "Free some space, then run the same command again."],
    EDQUOT: ["an exhausted quota", "Free some space, then run the same command again."],
    EROFS: ["a read-only file system", "Choose another place."],
    EMFILE: ["too many open files", "Raise the limit (ulimit -n)."],
  };
  const [got, fix] = words[code ?? ""] ?? [message, "Check the disk and the path."];
  return new BlockscaleError("io", { where, expected, got, fix }, { cause });
}

/**
 * Opens a regular file for reading.
 * @throws BlockscaleError `io`
 */
export async function openFile(path: string): Promise<FileSource> {
  let handle: FileHandle;
  let size: number;
  try {
    handle = await open(path, "r");
    const found = await handle.stat();
    size = found.size;
    if (!found.isFile()) {
      await handle.close();
      throw Object.assign(new Error("not a regular file"), { code: found.isDirectory() ? "EISDIR" : "" });
    }
  } catch (cause) {
    throw systemFault(path, "a readable file", cause);
  }
  return {
    path,
    size,
    slice: (start, end) => ({ arrayBuffer: () => readAt(handle, path, start, end) }),
    close: () => handle.close(),
  };
}

async function readAt(handle: FileHandle, path: string, start: number, end: number): Promise<ArrayBuffer> {
  const bytes = new Uint8Array(end - start);
  let done = 0;
  try {
    while (done < bytes.length) {
      const { bytesRead } = await handle.read(bytes, done, bytes.length - done, start + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
  } catch (cause) {
    throw systemFault(path, `bytes ${start} to ${end}`, cause);
  }
  return done === bytes.length ? bytes.buffer : bytes.buffer.slice(0, done);
}

let unique = 0;

/**
 * A stream into a file that appears under its name only when it is whole: written beside it, synced, renamed.
 * Aborted or failed, it leaves nothing.
 * @throws BlockscaleError `io`
 */
export async function createFile(path: string): Promise<WritableStream<Uint8Array>> {
  const partial = join(dirname(path), `.${basename(path)}.${process.pid}-${unique++}.part`);
  let handle: FileHandle;
  try {
    handle = await open(partial, "wx");
  } catch (cause) {
    throw systemFault(path, "a file that can be written", cause);
  }
  const discard = async () => {
    await handle.close().catch(() => {});
    await rm(partial, { force: true });
  };
  const guard = async (work: () => Promise<void>) => {
    try {
      await work();
    } catch (cause) {
      await discard();
      throw systemFault(path, "a file that can be written", cause);
    }
  };
  return new WritableStream({
    write: (chunk) => guard(() => writeAll(handle, chunk)),
    close: () =>
      guard(async () => {
        await handle.sync();
        await handle.close();
        await rename(partial, path);
        await syncFolder(dirname(path));
      }),
    abort: discard,
  });
}

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let done = 0; done < chunk.length; ) {
    done += (await handle.write(chunk, done, chunk.length - done)).bytesWritten;
  }
}

/** Makes a rename survive a power cut, where the system lets folders be synced. */
async function syncFolder(path: string): Promise<void> {
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
