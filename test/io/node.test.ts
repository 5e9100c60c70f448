import { mkdirSync, readdirSync, readlinkSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { type FileSource, openFile } from "../../src/io/node.ts";
import { layer, startLimited, temporaryFolder, writeFileWith } from "../support/cli-runner.ts";

const folder = temporaryFolder();
const path = (i: number) => join(folder, `${i}.bin`);
const byteOf = async (file: FileSource) => new Uint8Array(await file.slice(3, 4).arrayBuffer())[0];

/** How many files below the folder this process holds open. */
function held(): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(folder);
    } catch {
      return false;
    }
  }).length;
}

describe("files for reading", () => {
  const COUNT = 100;
  let files: FileSource[];
  beforeAll(async () => {
    for (let i = 0; i < COUNT; i++) writeFileSync(path(i), Uint8Array.of(9, 9, 9, i));
    files = await Promise.all(Array.from({ length: COUNT }, (_, i) => openFile(path(i))));
  });

  test("hold few descriptors, one after the other", async () => {
    for (const [i, file] of files.entries()) {
      expect(await byteOf(file)).toBe(i);
      expect(held()).toBeLessThanOrEqual(4);
    }
  });

  test("hold few descriptors, all at once and again and again", async () => {
    let most = 0;
    const order = Array.from({ length: 5 * COUNT }, (_, i) => (i * 37) % COUNT);
    const bytes = await Promise.all(
      order.map(async (i) => {
        const byte = await byteOf(files[i]!);
        most = Math.max(most, held());
        return byte;
      }),
    );
    expect(bytes).toEqual(order);
    expect(most).toBeLessThanOrEqual(4);
  });

  test("that fail to open leave room for others, and are tried anew", async () => {
    renameSync(path(1), `${path(1)}.away`);
    await Promise.all(files.slice(50).map(byteOf));
    const failed = await Promise.allSettled(Array.from({ length: 20 }, () => byteOf(files[1]!)));
    for (const { reason } of failed as PromiseRejectedResult[]) expect(reason).toMatchObject({ code: "io" });
    renameSync(`${path(1)}.away`, path(1));
    expect(await Promise.all(files.map(byteOf))).toEqual(files.map((_, i) => i));
  });

  test("that were replaced before they were opened again are refused", async () => {
    expect(await byteOf(files[0]!)).toBe(0);
    rmSync(path(0));
    writeFileSync(path(0), Uint8Array.of(9, 9, 9, 77));
    utimesSync(path(0), 1, 1);
    // What is open still is the old file; somebody else, such as the end of the run, has to look.
    expect(await byteOf(files[0]!)).toBe(0);
    await Promise.all(files.slice(50).map(byteOf));
    await expect(byteOf(files[0]!)).rejects.toThrow(/stays as it is, got a file that changed/);
  });

  test("give their descriptors back when they are closed", async () => {
    await Promise.all(files.map((file) => file.close()));
    expect(held()).toBe(0);
  });
});

test("a model of many shards is converted where 64 files may be open", async () => {
  const [input, output] = [join(folder, "many"), join(folder, "few")];
  mkdirSync(input);
  for (let i = 0; i < 150; i++) await writeFileWith(join(input, `s${i}.safetensors`), layer(i, 32));
  const result = await startLimited("ulimit -n 64", ["quantize", input, output, "--threads", "4"]);
  expect(result).toMatchObject({ code: 0, err: "" });
  expect(readdirSync(output)).toHaveLength(150);
});
