import { readdir, readFile, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";

const COMMIT = /^[0-9a-f]{40}$/;

/**
 * The folder of a model in the hub's cache on this machine, where every file of weights is in it: nobody
 * wants to fetch them twice. `null` where there is none, or not all of it.
 * @param name OWNER/NAME
 * @param revision a branch, a tag, or a commit
 */
export async function cachedModel(name: string, revision: string): Promise<string | null> {
  const { HF_HUB_CACHE, HF_HOME } = process.env;
  const cache = HF_HUB_CACHE ?? join(HF_HOME ?? join(homedir(), ".cache", "huggingface"), "hub");
  const folder = join(cache, `models--${name.replaceAll("/", "--")}`);
  const commit = COMMIT.test(revision) ? revision : await commitOf(folder, revision);
  if (commit === null) return null;
  const snapshot = join(folder, "snapshots", commit);
  return (await isWhole(snapshot)) ? snapshot : null;
}

/** What a branch or tag pointed to when it was last fetched. */
async function commitOf(folder: string, revision: string): Promise<string | null> {
  if (revision.split(/[/\\]/).includes("..")) return null;
  const found = await readFile(join(folder, "refs", revision), "utf8").catch(() => "");
  return COMMIT.test(found.trim()) ? found.trim() : null;
}

/**
 * Whether all that an index names is there, as whole files; without an index,
 * config.json and at least one file of weights.
 */
export async function isWhole(snapshot: string): Promise<boolean> {
  const names = await readdir(snapshot).catch((): string[] => []);
  const isThere = async (name: string) =>
    (await stat(join(snapshot, name)).catch(() => null))?.isFile() === true;
  const index = names.find((name) => name.endsWith(".safetensors.index.json"));
  const wanted =
    index === undefined
      ? names.filter((name) => name.endsWith(".safetensors"))
      : await shardsOf(join(snapshot, index));
  if (wanted.length === 0 || !(await isThere("config.json"))) return false;
  return (await Promise.all(wanted.map(isThere))).every((found) => found);
}

async function shardsOf(index: string): Promise<string[]> {
  try {
    const { weight_map: map } = JSON.parse(await readFile(index, "utf8")) as { weight_map?: object };
    return [...new Set(Object.values(map ?? {}).map(String))];
  } catch {
    return [];
  }
}
