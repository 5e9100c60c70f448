import { BlockscaleError } from "../tensor/errors.ts";
import { checkKnown } from "../tensor/options.ts";
import { forEachOf } from "./concurrency.ts";
import { checkUrl, openUrl, URL_OPTIONS, type UrlOptions, type UrlSource } from "./http.ts";
import { readRange, type Source } from "./source.ts";

/** How to keep a file of the web. */
export interface CacheOptions extends UrlOptions {
  /** How much of the file is in private storage. */
  onProgress?(bytes: { readonly done: number; readonly total: number }): void;
}

/**
 * Bytes of a piece: each is a file of its own, which is there whole or not at all, so that
 * a download goes on where it was cut off.
 */
const PIECE = 2 ** 24;

/** Pieces that are fetched at a time: this bounds the memory. */
const AHEAD = 3;

/** The folder in private storage that holds one folder for each address. */
const FOLDER = "blockscale-files";

/** The file that tells which version is kept: if size or tag on the server differ, it is fetched anew. */
const ORIGIN = "origin.json";

/**
 * Opens a file by its URL, and keeps it in the private storage of the page's origin (OPFS), so that the
 * next visit reads it from disk. The server is asked each time whether the file still has its size and its
 * ETag, where it tells one. The browser may clear the storage if the disk is full;
 * `navigator.storage.persist()` asks it not to.
 * @throws BlockscaleError `io`: no such file, no private storage here, or no room in it; `option`: no address
 */
export async function openCached(url: string, options: CacheOptions = {}): Promise<Source> {
  checkUrl("openCached", url);
  const { onProgress, ...rest } = checkKnown("openCached", options, [...URL_OPTIONS, "onProgress"]);
  const { fetch: fetchBy = fetch } = rest;
  // What is kept here need not lie in the browser's cache too.
  const uncached: typeof fetch = (input, init) => fetchBy(input, { ...init, cache: "no-store" });
  const source = await openUrl(url, { ...rest, fetch: uncached });
  const files = await privateFolder(true);
  const name = await nameOf(url);
  return withLock(name, options.signal, async () => {
    const folder = await folderFor(files!, name, source);
    try {
      return await complete(folder, source, options);
    } catch (cause) {
      if ((cause as Error).name === "QuotaExceededError") throw storageFull(url, source.size, cause);
      throw cause;
    }
  });
}

/** Removes what {@link openCached} keeps of a URL, or of all; does nothing where there is none. */
export async function removeCached(url?: string): Promise<void> {
  if (url !== undefined) checkUrl("removeCached", url);
  const files = await privateFolder(false);
  if (files === null) return;
  if (url !== undefined) {
    const name = await nameOf(url);
    await withLock(name, undefined, () => remove(files, name));
    return;
  }
  for await (const name of files.keys()) await withLock(name, undefined, () => remove(files, name));
}

/** Brings the pieces that are missing. A Blob of files reads them from disk when it is read. */
async function complete(
  folder: FileSystemDirectoryHandle,
  source: UrlSource,
  { signal, onProgress }: CacheOptions,
): Promise<Source> {
  const { size } = source;
  const pieces: File[] = new Array(Math.ceil(size / PIECE));
  let done = 0;
  // After a failure all have stopped: nobody else may work on the folder before.
  await forEachOf(pieces.keys(), AHEAD, async (i) => {
    signal?.throwIfAborted();
    const [start, end] = [i * PIECE, Math.min(size, (i + 1) * PIECE)];
    pieces[i] =
      (await existingFile(folder, String(i), end - start)) ??
      (await writeFile(folder, String(i), await readRange(source.url, source, start, end)));
    done += end - start;
    onProgress?.({ done, total: size });
  });
  return new Blob(pieces);
}

/** A file of the size expected, or `null`. */
async function existingFile(
  folder: FileSystemDirectoryHandle,
  name: string,
  size: number,
): Promise<File | null> {
  const file = await folder.getFileHandle(name).then(
    (handle) => handle.getFile(),
    () => null,
  );
  return file?.size === size ? file : null;
}

/** Writes a file beside its place, and puts it there when it is whole. */
async function writeFile(
  folder: FileSystemDirectoryHandle,
  name: string,
  bytes: Uint8Array | string,
): Promise<File> {
  const handle = await folder.getFileHandle(name, { create: true });
  const stream = await handle.createWritable();
  try {
    await stream.write(bytes as Uint8Array<ArrayBuffer> | string);
    await stream.close();
  } catch (error) {
    await stream.abort().catch(() => {});
    throw error;
  }
  return handle.getFile();
}

/** The folder of a file, empty if what was in it is of another version. */
async function folderFor(
  files: FileSystemDirectoryHandle,
  name: string,
  { url, size, tag }: UrlSource,
): Promise<FileSystemDirectoryHandle> {
  const origin = JSON.stringify({ url, size, tag });
  const folder = await files.getDirectoryHandle(name, { create: true });
  const found = await folder.getFileHandle(ORIGIN).then(
    async (handle) => (await handle.getFile()).text(),
    () => "",
  );
  if (found === origin) return folder;
  await remove(files, name);
  const fresh = await files.getDirectoryHandle(name, { create: true });
  await writeFile(fresh, ORIGIN, origin);
  return fresh;
}

async function remove(files: FileSystemDirectoryHandle, name: string): Promise<void> {
  await files.removeEntry(name, { recursive: true }).catch((error) => {
    if (error.name !== "NotFoundError") throw error;
  });
}

/** Runs work on a kept file while no other tab does: others wait, and find what was fetched. */
async function withLock<T>(
  name: string,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const options = signal === undefined ? {} : { signal };
  return navigator.locks.request(`${FOLDER}/${name}`, options, work) as Promise<T>;
}

async function privateFolder(create: boolean): Promise<FileSystemDirectoryHandle | null> {
  let root: FileSystemDirectoryHandle;
  try {
    root = await navigator.storage.getDirectory();
    if (!("createWritable" in FileSystemFileHandle.prototype)) throw new Error("no createWritable");
  } catch (cause) {
    throw new BlockscaleError(
      "io",
      {
        where: "openCached",
        expected: "private storage: a page of https:// or localhost in a browser of 2025 or later",
        got: (cause as Error).message,
        fix: "Use openUrl, which reads from the network each time.",
      },
      { cause },
    );
  }
  return root.getDirectoryHandle(FOLDER, { create }).catch((error) => {
    if (error.name === "NotFoundError") return null;
    throw error;
  });
}

/** A name that any address can have: its SHA-256. */
async function nameOf(url: string): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(url)));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function storageFull(url: string, size: number, cause: unknown): BlockscaleError {
  return new BlockscaleError(
    "io",
    {
      where: url,
      expected: `room for ${size} bytes in private storage`,
      got: "a storage that is full",
      fix: "Free some with removeCached, or use openUrl.",
    },
    { cause },
  );
}
