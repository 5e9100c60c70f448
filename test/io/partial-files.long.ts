import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { createFile } from "../../src/io/node.ts";
import { partialName, removeLeftovers, writerOf } from "../../src/io/partial-files.ts";

const folder = mkdtempSync(join(tmpdir(), "blockscale-writers-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The name of a partial file with other parts than those of this process. */
function nameOf(parts: { realm?: string; pid?: number; start?: string }): string {
  const [, realm, pid, start, rest] = /^\.a\.([0-9a-f]{8})-(\d+)-(\w+)-(.*)$/.exec(partialName("a"))!;
  return `.a.${parts.realm ?? realm}-${parts.pid ?? pid}-${parts.start ?? start}-${rest}`;
}

test("every name is its own, and tells its writer", () => {
  const [a, b] = [partialName("x\ny"), partialName("x\ny")];
  expect(a).not.toBe(b);
  expect(writerOf(a)).toMatchObject({ pid: process.pid });
  expect(writerOf(".notes.99999999-1.part")).toMatchObject({ pid: 99999999 });
  expect(writerOf("model.safetensors")).toBeNull();
});

test("files of this run stay; those of dead processes go, also where the number is another process's now", async () => {
  const ours = partialName("a");
  const dead = [nameOf({ pid: 99999999 }), nameOf({ start: "1" }), nameOf({ pid: 1, start: "1" })];
  for (const name of [ours, ...dead]) writeFileSync(join(folder, name), "x");
  await removeLeftovers(folder);
  expect(readdirSync(folder)).toEqual([ours]);
  rmSync(join(folder, ours));
});

test("a process that was killed and not waited for is dead", async () => {
  // The shell's child ends at once; its parent has become a sleep, which waits for nobody.
  const parent = spawn("sh", ["-c", "sleep 0.1 & echo $!; exec sleep 30"]);
  const pid = await new Promise<number>((resolve) =>
    parent.stdout.once("data", (text) => resolve(Number(text))),
  );
  try {
    const state = (): string => execFileSync("cat", [`/proc/${pid}/stat`], { encoding: "utf8" });
    while (!/\) Z /.test(state())) await new Promise((resolve) => setTimeout(resolve, 20));
    const start = state().split(") ")[1]!.split(" ")[19]!;
    const name = nameOf({ pid, start });
    writeFileSync(join(folder, name), "x");
    await removeLeftovers(folder);
    expect(existsSync(join(folder, name))).toBe(false);
  } finally {
    parent.kill();
  }
});

test("a running process of this host is named", async () => {
  const other = spawn("sleep", ["30"]);
  try {
    const start = execFileSync("cat", [`/proc/${other.pid}/stat`], { encoding: "utf8" })
      .split(") ")[1]!
      .split(" ")[19]!;
    const name = nameOf({ pid: other.pid!, start });
    writeFileSync(join(folder, name), "x");
    expect(await removeLeftovers(folder)).toEqual([`process ${other.pid}`]);
    expect(existsSync(join(folder, name))).toBe(true);
    rmSync(join(folder, name));
  } finally {
    other.kill();
  }
});

test("of another host: what changes is being written, whatever the clocks say; what does not is left over", async () => {
  const name = nameOf({ realm: "00000000", pid: 1 });
  const path = join(folder, name);
  writeFileSync(path, "x");
  // The other host's clock is a day behind, then jumps by a year.
  let time = Date.now() / 1000 - 86_400;
  utimesSync(path, time, time);
  const alive = setInterval(() => {
    time += 365 * 86_400;
    utimesSync(path, time, time);
  }, 500);
  expect(await removeLeftovers(folder)).toEqual(["process 1 of another host or container"]);
  expect(existsSync(path)).toBe(true);
  clearInterval(alive);
  await removeLeftovers(folder);
  expect(existsSync(path)).toBe(false);
}, 30_000);

test("a file being written gives signs of life without being written to", async () => {
  const writer = (await createFile(join(folder, "b"))).getWriter();
  const [name] = readdirSync(folder) as [string];
  const { statSync } = await import("node:fs");
  const before = statSync(join(folder, name)).mtimeMs;
  await new Promise((resolve) => setTimeout(resolve, 2500));
  expect(statSync(join(folder, name)).mtimeMs).toBeGreaterThan(before);
  await writer.close();
  expect(readdirSync(folder)).toEqual(["b"]);
  rmSync(join(folder, "b"));
});

const canUnshare = spawnSync("unshare", ["-pf", "--mount-proc", "true"]).status === 0;

test.skipIf(!canUnshare)(
  "killed three times as process 1 of a container, it goes on",
  () => {
    const script = `
    import { createFile } from ${JSON.stringify(new URL("../../dist/io/node.js", import.meta.url).href)};
    import { removeLeftovers } from ${JSON.stringify(new URL("../../dist/io/partial-files.js", import.meta.url).href)};
    await removeLeftovers(${JSON.stringify(folder)});
    const writer = (await createFile(${JSON.stringify(join(folder, "c"))})).getWriter();
    await writer.write(new Uint8Array(8));
    if (process.argv.at(-1) === "die") process.kill(process.pid, "SIGKILL");
    if (process.argv.at(-1) === "die") process.abort(); // process 1 is not killed by its own signals
    await writer.close();
  `;
    const run = (what: string) =>
      spawnSync(
        "unshare",
        ["-pf", "--mount-proc", process.execPath, "--input-type=module", "-e", script, what],
        {
          encoding: "utf8",
        },
      );
    for (let i = 0; i < 3; i++) {
      expect(run("die").status).not.toBe(0);
      expect(readdirSync(folder).filter((name) => name.startsWith(".c."))).toHaveLength(1);
    }
    expect(run("live")).toMatchObject({ status: 0, stderr: "" });
    expect(readdirSync(folder)).toEqual(["c"]);
  },
  60_000,
);
