import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { blockscale, expectSameFiles, snapshot, start, workplace } from "../support/cli-runner.ts";

const { makeModel, output } = workplace();

/** Waits until files of some names, whole or not, have appeared in a folder. */
async function untilWritten(out: string, isThere: (names: string[]) => boolean, child: ChildProcess) {
  const isRunning = () => child.exitCode === null && child.signalCode === null;
  while (isRunning() && !(existsSync(out) && isThere(readdirSync(out)))) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const isBegun = (names: string[]) =>
  names.some((name) => name.endsWith(".part") && name.includes(".safetensors."));

describe("a run that is cut off", () => {
  const isFinal = (name: string) => name.endsWith(".safetensors") && !name.startsWith(".");

  test("leaves only whole files, and goes on where it stopped with the same bytes", async () => {
    const model = await makeModel(5, 400);
    const [whole, out] = [output(), output()];
    expect(await blockscale("quantize", model, whole)).toMatchObject({ code: 0 });
    const want = snapshot(whole);
    let kills = 0;
    for (let round = 1; round <= 4; round++) {
      const { child, ended } = start(["quantize", model, out, "--threads", "1"]);
      // Once a partial file is there besides so many whole ones: in the middle of the next.
      const isMiddle = (names: string[]) => names.filter(isFinal).length >= round && isBegun(names);
      await untilWritten(out, isMiddle, child);
      if (child.kill("SIGKILL")) kills++;
      await ended;
      for (const [name, bytes] of snapshot(out)) {
        if (isFinal(name)) expect(bytes.equals(want.get(name)!), name).toBe(true);
      }
    }
    expect(kills).toBeGreaterThanOrEqual(2);
    const finished = [...snapshot(out).keys()].filter(isFinal);
    expect(finished.length).toBeGreaterThan(0);
    // What is whole is not made again: a time set by hand stays.
    for (const name of finished) utimesSync(join(out, name), 1, 1);
    const { code, out: text } = await blockscale("quantize", model, out, "--json");
    expect(code).toBe(0);
    for (const name of finished) expect(statSync(join(out, name)).mtimeMs).toBe(1000);
    expectSameFiles(out, whole);
    // Once finished, the same command may be given again all the same.
    expect(await blockscale("quantize", model, out)).toMatchObject({ code: 0 });
    expectSameFiles(out, whole);
    expect(
      JSON.parse(text).tensors.every(
        (row: { action: string; precision: unknown }) =>
          (row.action === "quantize") === (row.precision !== null),
      ),
    ).toBe(true);
  });

  test("is not taken up by another command, or for an input that changed", async () => {
    const model = await makeModel(3, 300);
    const out = output();
    const { child, ended } = start(["quantize", model, out, "--threads", "1"]);
    await untilWritten(out, (names) => names.some(isFinal), child);
    child.kill("SIGKILL");
    await ended;
    const other = await blockscale("quantize", model, out, "--to", "mxfp8");
    expect(other).toMatchObject({ code: 2, err: expect.stringContaining("another command") });
    utimesSync(join(model, "tokenizer.json"), 5, 5);
    expect(await blockscale("quantize", model, out)).toMatchObject({ code: 2 });
    expect(await blockscale("quantize", model, out, "--overwrite")).toMatchObject({ code: 0 });
  });

  test("by Ctrl-C ends with 130, one message, and nothing half-written", async () => {
    const model = await makeModel(3, 700);
    const out = output();
    const { child, ended } = start(["quantize", model, out]);
    await untilWritten(
      out,
      (names) => names.some((name) => name.includes(".safetensors.") && name.endsWith(".part")),
      child,
    );
    child.kill("SIGINT");
    const { code, err } = await ended;
    expect({ code, err }).toEqual({ code: 130, err: expect.stringMatching(/^blockscale: .*SIGINT.*\n$/) });
    expect([...snapshot(out).keys()].filter((name) => name.endsWith(".part"))).toEqual([]);
    expect(await blockscale("quantize", model, out)).toMatchObject({ code: 0 });
  });
});

const canUnshare = spawnSync("unshare", ["-pf", "--mount-proc", "true"]).status === 0;
const canMount = spawnSync("unshare", ["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).status === 0;

describe.skipIf(!canUnshare)("in a container, where every run is process 1,", () => {
  const alone = ["unshare", "-pf", "--mount-proc", "--kill-child"];

  test("it goes on after three kills, with the same bytes", async () => {
    const model = await makeModel(4, 500);
    const [whole, out] = [output(), output()];
    expect(await blockscale("quantize", model, whole)).toMatchObject({ code: 0 });
    const command = ["quantize", model, out, "--threads", "1"];
    for (let round = 0; round < 3; round++) {
      const { child, ended } = start(command, [], alone);
      await untilWritten(out, isBegun, child);
      child.kill("SIGKILL");
      await ended;
    }
    expect(await start(command, [], alone).ended).toMatchObject({ code: 0, err: "" });
    expectSameFiles(out, whole);
  }, 60_000);

  test("another that writes into the same folder is named, and what it writes stays", async () => {
    const model = await makeModel(2, 64);
    const [whole, out] = [output(), output()];
    expect(await blockscale("quantize", model, whole)).toMatchObject({ code: 0 });
    mkdirSync(out);
    const name = "model-00001-of-00002.safetensors";
    const script = `
      import { createFile } from ${JSON.stringify(new URL("../../dist/io/node.js", import.meta.url).href)};
      const writer = (await createFile(${JSON.stringify(join(out, name))})).getWriter();
      await writer.write(new Uint8Array(8));
      process.stdin.resume().on("end", () => writer.abort());
    `;
    const [command, ...rest] = [...alone, process.execPath, "--input-type=module", "-e", script];
    const other = spawn(command!, rest, { stdio: ["pipe", "ignore", "inherit"] });
    try {
      await untilWritten(out, isBegun, other);
      const [partial] = readdirSync(out) as [string];
      const { code, err } = await start(["quantize", model, out], [], alone).ended;
      expect({ code, err }).toEqual({
        code: 0,
        err: expect.stringMatching(/process 1 of another host or container is writing into .* too/),
      });
      expect(readdirSync(out)).toContain(partial);
      other.stdin.end();
      await new Promise((resolve) => other.on("close", resolve));
      expectSameFiles(out, whole);
    } finally {
      other.kill("SIGKILL");
    }
  }, 60_000);
});

describe("a disk that goes away", () => {
  test.skipIf(!canMount)(
    "full: one clear error, and nothing under a final name that is not whole",
    async () => {
      const model = await makeModel(3, 600);
      const [whole, out] = [output(), output()];
      expect(await blockscale("quantize", model, whole)).toMatchObject({ code: 0 });
      mkdirSync(out);
      const shard = statSync(join(whole, "model-00001-of-00003.safetensors")).size;
      const script =
        'mount -t tmpfs -o size="$1" none "$0" || exit 9; out=$0; shift; "$@"; code=$?; ls -A "$out" >&2; exit $code';
      const mounted = ["unshare", "-m", "bash", "-c", script, out, String(Math.round(1.5 * shard))];
      const { code, err } = await start(["quantize", model, out], [], mounted).ended;
      expect(code).toBe(1);
      const [message, ...names] = err.trim().split("\n");
      expect(message).toMatch(/^blockscale: .*got a full disk/);
      expect(names).toEqual([".blockscale-unfinished.jsonl", "model-00001-of-00003.safetensors"]);
    },
  );

  test("removed while it is written to: one clear error, and the next run makes all of it", async () => {
    const model = await makeModel(3, 700);
    const [whole, out] = [output(), output()];
    expect(await blockscale("quantize", model, whole)).toMatchObject({ code: 0 });
    const { child, ended } = start(["quantize", model, out, "--threads", "1"]);
    await untilWritten(out, isBegun, child);
    // The run may add a file meanwhile.
    rmSync(out, { recursive: true, maxRetries: 10 });
    const { code, err } = await ended;
    expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/^blockscale: [^\n]*\n$/) });
    const want = snapshot(whole);
    for (const [name, bytes] of existsSync(out) ? snapshot(out) : [])
      if (!name.startsWith(".")) expect(bytes.equals(want.get(name)!), name).toBe(true);
    expect(await blockscale("quantize", model, out, "--overwrite")).toMatchObject({ code: 0 });
    expectSameFiles(out, whole);
  });
});
