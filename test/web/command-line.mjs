// What the command line makes of a checkpoint: the page has to make the same.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual, promisify } from "node:util";

/** Runs the command line: meanwhile tests of another browser go on. @returns what it prints */
export async function run({ root }, ...args) {
  const { stdout } = await promisify(execFile)("node", [join(root, "dist/cli/main.js"), ...args], {
    maxBuffer: 2 ** 28,
  });
  return stdout;
}

/** The same with --json. @returns its report */
export const cli = async (env, ...args) => JSON.parse(await run(env, ...args, "--json"));

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

/**
 * SHA-256 of every file in an uncompressed zip archive, by name: told by its directory, which is at its end.
 */
export function unzipped(bytes) {
  const end = bytes.lastIndexOf(Buffer.from("PK\x05\x06"));
  assert.ok(end >= 0, "an archive ends with its directory");
  const found = {};
  let at = bytes.readUInt32LE(end + 16);
  for (let i = 0; i < bytes.readUInt16LE(end + 10); i++) {
    const [method, size, nameLength] = [
      bytes.readUInt16LE(at + 10),
      bytes.readUInt32LE(at + 24),
      bytes.readUInt16LE(at + 28),
    ];
    const [extra, comment, local] = [
      bytes.readUInt16LE(at + 30),
      bytes.readUInt16LE(at + 32),
      bytes.readUInt32LE(at + 42),
    ];
    assert.equal(method, 0, "files are stored as they are");
    const name = bytes.toString("utf8", at + 46, at + 46 + nameLength);
    const start = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
    const data = bytes.subarray(start, start + size);
    found[name] = createHash("sha256").update(data).digest("hex");
    at += 46 + nameLength + extra + comment;
  }
  return found;
}

/** Waits until a folder holds an archive of these files, in a folder of their own. */
export async function arriveZipped(folder, wanted) {
  const found = () => {
    const archive = readdirSync(folder).find((name) => name.endsWith(".zip"));
    try {
      const files = unzipped(readFileSync(join(folder, archive)));
      return Object.fromEntries(
        Object.entries(files).map(([name, hash]) => [name.split("/").slice(1).join("/"), hash]),
      );
    } catch {
      return {}; // not there, or not as a whole
    }
  };
  for (let i = 0; i < 300 && !isDeepStrictEqual(found(), wanted); i++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.deepEqual(found(), wanted);
}

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
