// What the command line makes of a checkpoint: the page has to make the same.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";

/** Runs the command line. @returns its report */
export const cli = ({ root }, ...args) =>
  JSON.parse(execFileSync("node", [join(root, "dist/cli/main.js"), ...args, "--json"], { encoding: "utf8" }));

export const sha256 = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");

/** SHA-256 of every file of a folder, by name. */
export const hashes = (path) =>
  Object.fromEntries(
    readdirSync(path)
      .sort()
      .map((name) => [name, sha256(join(path, name))]),
  );

/** The same of what `privateFiles` gives. */
export const onlyHashes = (files) =>
  Object.fromEntries(Object.entries(files).map(([name, { sha256 }]) => [name, sha256]));

/** Waits until a folder holds files of these hashes, whatever they are called, each of them whole. */
export async function arrive(folder, wanted) {
  const sorted = Object.values(wanted).sort();
  const found = () => {
    try {
      return Object.values(hashes(folder)).sort();
    } catch {
      return []; // renamed by the browser while it was read
    }
  };
  for (let i = 0; i < 300 && !isDeepStrictEqual(found(), sorted); i++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.deepEqual(found(), sorted);
}
