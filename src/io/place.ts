import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { createFile, type FileSource, makeFolder, openFile, systemFault } from "./node.ts";
import { removeLeftovers } from "./partial-files.ts";
import { createS3, isS3, listS3, openS3, readS3Text, removeS3, type S3Source } from "./s3.ts";
import { readRange } from "./source.ts";

// What commands do with files, be they on disk or in object storage: a place is a path, or s3://bucket/key.

/** Whether a place is an address of any kind and not a path. */
export function isAddress(place: string): boolean {
  return /^[a-z][a-z0-9+.-]+:/i.test(place);
}

/** The place of a file in a folder, or under a prefix. */
export function placeIn(folder: string, ...names: string[]): string {
  return isS3(folder) ? [folder.replace(/\/+$/, ""), ...names].join("/") : join(folder, ...names);
}

/** @throws BlockscaleError `io` */
export function openAt(place: string): Promise<FileSource | S3Source> {
  return isS3(place) ? openS3(place) : openFile(place);
}

/**
 * A stream into a file that appears only when it is whole.
 * @param size in bytes, if known
 * @param beforeVisible called when every byte is safe; the file appears when it is done
 * @param mode of a file on disk
 * @throws BlockscaleError `io`
 */
export async function createAt(
  place: string,
  size?: number,
  beforeVisible?: () => Promise<void>,
  mode?: number,
): Promise<WritableStream<Uint8Array>> {
  return isS3(place) ? createS3(place, size, beforeVisible) : createFile(place, beforeVisible, mode);
}

/** Writes a small text as a file that appears only when it is whole. */
export async function writeTextAt(place: string, text: string, mode?: number): Promise<void> {
  await new Blob([text]).stream().pipeTo(await createAt(place, undefined, undefined, mode));
}

/**
 * All bytes of a file.
 * @throws BlockscaleError `io`
 */
export async function readAt(place: string): Promise<Uint8Array> {
  if (isS3(place)) {
    const source = await openS3(place);
    return readRange(place, source, 0, source.size);
  }
  // By name: a pipe such as <(command) has no size to open it by.
  return readFile(place).catch((cause) => {
    throw systemFault(place, "a readable file", cause);
  });
}

/** A small file; `null` where it cannot be read. */
export function readTextAt(place: string): Promise<string | null> {
  return isS3(place) ? readS3Text(place) : readFile(place, "utf8").catch(() => null);
}

/** Removes a file, or nothing where there is none. */
export function removeAt(place: string): Promise<void> {
  return isS3(place) ? removeS3(place) : rm(place, { force: true });
}

/** Removes a folder and all that is in it. */
export async function removeFolderAt(place: string): Promise<void> {
  if (!isS3(place)) return rm(place, { recursive: true, force: true });
  for (const name of await listS3(place)) await removeS3(placeIn(place, name));
}

/**
 * Names in a folder, of files and folders, hidden ones too.
 * @throws BlockscaleError `io`
 */
export async function namesAt(folder: string): Promise<string[]> {
  if (isS3(folder)) return [...new Set((await listS3(folder)).map((name) => name.split("/")[0]!))];
  return readdir(folder).catch((cause) => {
    throw systemFault(folder, "a readable folder", cause);
  });
}

/** Names of the files that lie in a folder itself. */
export async function filesAt(folder: string): Promise<string[]> {
  if (isS3(folder)) return (await listS3(folder)).filter((name) => !name.includes("/"));
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name);
}

/** Makes a folder where there are folders. */
export async function makeFolderAt(place: string): Promise<void> {
  if (!isS3(place)) await makeFolder(place);
}

/**
 * `removeLeftovers` of a folder. Unfinished uploads cannot be seen among
 * objects: a rule of the bucket removes them.
 */
export async function removeLeftoversAt(folder: string, of?: (name: string) => boolean): Promise<string[]> {
  return isS3(folder) ? [] : removeLeftovers(folder, of);
}
