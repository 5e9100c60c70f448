import { lstat, readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative, resolve } from "node:path";
import { BlockscaleError } from "../tensor/errors.ts";
import { type FileSource, fileFacts, openFile, systemFault } from "./node.ts";

/** An input on disk: a file by itself, or the files of a folder by their relative names. */
export interface LocalInput {
  readonly isFolder: boolean;
  readonly files: ReadonlyMap<string, FileSource>;
  close(): Promise<void>;
}

/**
 * Opens a file or a folder. Hidden files and folders are left out; so are files being written by another run.
 * Links to files are followed, wherever they lead.
 * @throws BlockscaleError `io`; also for links that lead nowhere
 */
export async function openLocal(path: string): Promise<LocalInput> {
  const { isFolder } = await fileFacts(path);
  const files = new Map<string, FileSource>();
  if (isFolder) {
    const root = await realpath(path);
    const names = await listFiles(root, "");
    const opened = await Promise.all(names.map((name) => openFile(join(root, name))));
    for (const [i, name] of names.entries()) files.set(name, opened[i]!);
  } else {
    files.set(basename(path), await openFile(path));
  }
  return {
    isFolder,
    files,
    close: async () => {
      await Promise.all([...files.values()].map((file) => file.close()));
    },
  };
}

async function listFiles(root: string, folder: string): Promise<string[]> {
  const names: string[] = [];
  const entries = await readdir(join(root, folder), { withFileTypes: true }).catch((cause) => {
    throw systemFault(join(root, folder), "a readable folder", cause);
  });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith(".")) continue;
    const name = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isSymbolicLink()) {
      // Hubs keep files elsewhere, and people on another disk. Links to folders could lead in circles.
      if (!(await fileFacts(join(root, name))).isFolder) names.push(name);
    } else if (entry.isDirectory()) names.push(...(await listFiles(root, name)));
    else if (entry.isFile()) names.push(name);
  }
  return names;
}

function isInside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== ".." && !way.startsWith("../") && !way.startsWith("..\\") && !isAbsolute(way);
}

/** The real path of something that need not exist yet. */
async function futurePath(path: string): Promise<string> {
  const whole = resolve(path);
  try {
    return await realpath(whole);
  } catch {
    const parent = dirname(whole);
    return parent === whole ? whole : join(await futurePath(parent), basename(whole));
  }
}

/** Whether a path is a folder or file, or lies in it, also through links. Neither need exist. */
export async function isWithin(place: string, path: string): Promise<boolean> {
  return isInside(...(await Promise.all([futurePath(place), futurePath(path)])));
}

/**
 * Refuses an output folder that is the input folder, lies in it, or holds it.
 * @throws BlockscaleError `option`
 */
export async function refuseOverlap(input: string, output: string): Promise<void> {
  const [from, to] = await Promise.all([futurePath(input), futurePath(output)]);
  if (!isInside(from, to) && !isInside(to, from)) return;
  throw new BlockscaleError("option", {
    where: "OUT",
    expected: "a folder apart from IN",
    got: to === from ? "the same folder" : `${output}, one inside the other`,
    fix: "Choose another folder: the input is never changed.",
  });
}

/**
 * Refuses names that are links out of the folder, devices, pipes or folders: only regular files may be
 * replaced. Refuses a folder too that cannot be made, since a file is in its place.
 * @param names relative to the folder; neither it nor they need exist
 * @throws BlockscaleError `option`
 */
export async function refuseObstacles(folder: string, names: readonly string[]): Promise<void> {
  await refuseNoFolder(folder);
  const root = await futurePath(folder);
  const parents = new Map(
    [...new Set(names.map(dirname))].map((name) => [name, futurePath(join(folder, name))]),
  );
  const stats = await Promise.all(names.map((name) => stat(join(folder, name)).catch(() => null)));
  for (const [i, name] of names.entries()) {
    const path = join(folder, name);
    const parent = await parents.get(dirname(name))!;
    const found = stats[i]!;
    if (isInside(root, parent) && (found === null || found.isFile())) continue;
    throw new BlockscaleError("option", {
      where: path,
      expected: "a file inside OUT, or nothing yet",
      got: !isInside(root, parent)
        ? `a link to ${parent}`
        : found?.isDirectory() === true
          ? "a folder"
          : "a device, a pipe or a socket",
      fix: "Choose another OUT; --dry-run writes nothing.",
    });
  }
}

/** Refuses what is neither a folder nor a link to one; another process may make the folder meanwhile. */
async function refuseNoFolder(path: string): Promise<void> {
  const own = await lstat(path).catch(() => null);
  const found = own?.isSymbolicLink() === true ? await stat(path).catch(() => null) : own;
  if (own === null || found?.isDirectory() === true) return;
  throw new BlockscaleError("option", {
    where: path,
    expected: "a folder, or nothing yet",
    got: found === null ? "a link that leads nowhere" : "a file",
    fix: "Choose another OUT: a folder becomes a folder, and a file lies in one.",
  });
}

/**
 * The files of a folder by their relative names, as `openCheckpoint` and `openModel` take them. They are
 * opened when they are first read, and closed with the process, or by `close()` of each.
 * @throws BlockscaleError `io`
 */
export async function openFolder(path: string): Promise<Map<string, FileSource>> {
  const { files, isFolder } = await openLocal(path);
  if (isFolder) return new Map(files);
  throw new BlockscaleError("io", {
    where: path,
    expected: "a folder",
    got: "a file",
    fix: "Give the folder that holds it, or open it with openFile.",
  });
}
