import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { blockscale, snapshot, start, workplace } from "../support/cli-runner.ts";

const { folder, makeModel, output } = workplace();

/** A module that collects garbage all the time: what is left open is then told on standard error. */
const COLLECTING = "data:text/javascript,setInterval(() => globalThis.gc(), 1).unref()";

describe("refused, with nothing written", () => {
  test("an output in, around or at the input", async () => {
    const model = await makeModel();
    for (const out of [join(model, "out"), model])
      expect(await blockscale("quantize", model, out)).toEqual({
        code: 2,
        out: "",
        err: expect.stringMatching(/a folder apart from IN/),
      });
    const around = await blockscale("quantize", model, dirname(model));
    expect(around).toMatchObject({ code: 2 });
    const link = join(folder, "link");
    symlinkSync(model, link);
    expect(await blockscale("quantize", model, join(link, "deeper/out"))).toMatchObject({ code: 2 });
  });
  test("an output that holds something else, until told to", async () => {
    const model = await makeModel(1);
    const out = output();
    mkdirSync(out);
    writeFileSync(join(out, "thesis.txt"), "x");
    const { code, err } = await blockscale("quantize", model, out);
    expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining("--overwrite") });
    expect([...snapshot(out).keys()]).toEqual(["thesis.txt"]);
    expect(await blockscale("quantize", model, out, "--overwrite")).toMatchObject({ code: 0 });
  });
  test("an output whose folders lead elsewhere, back to the input for one", async () => {
    const model = await makeModel(1);
    const out = output();
    const before = snapshot(model);
    mkdirSync(out);
    symlinkSync(join(model, "sub"), join(out, "sub"));
    const { code, err } = await blockscale("quantize", model, out, "--overwrite");
    expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining("empty.txt") });
    expect(snapshot(model)).toEqual(before);
    expect(readdirSync(out)).toEqual(["sub"]);
  });
  test("an output that is a file, or a link that leads nowhere", async () => {
    const model = await makeModel(1);
    const [file, link] = [output(), output()];
    writeFileSync(file, "precious");
    symlinkSync(join(folder, "nowhere"), link);
    for (const out of [file, link]) {
      for (const flags of [[], ["--overwrite"]]) {
        const { code, err } = await blockscale("quantize", model, out, ...flags);
        expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining(`${out}: expected a folder`) });
      }
    }
    expect(readFileSync(file, "utf8")).toBe("precious");
  });
  test("a folder that bears the name of a file to be written", async () => {
    const model = await makeModel(1);
    const out = output();
    mkdirSync(join(out, "tokenizer.json"), { recursive: true });
    const { code, err } = await blockscale("quantize", model, out, "--overwrite");
    expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining("tokenizer.json") });
    expect(readdirSync(out)).toEqual(["tokenizer.json"]);
  });
  test("leftovers in a folder that is refused stay", async () => {
    const model = await makeModel(1);
    const out = output();
    mkdirSync(out);
    for (const name of ["thesis.txt", ".notes.99999999-1.part"]) writeFileSync(join(out, name), "x");
    expect(await blockscale("quantize", model, out)).toMatchObject({ code: 2 });
    expect(readdirSync(out)).toHaveLength(2);
    rmSync(join(out, "thesis.txt"));
    expect(await blockscale("quantize", model, out)).toMatchObject({ code: 0 });
    expect(readdirSync(out).filter((name) => name.endsWith(".part"))).toEqual([]);
  });
});

test("--overwrite leaves nothing of another checkpoint, and everything else", async () => {
  const [old, model] = [await makeModel(3), await makeModel(1)];
  const out = output();
  expect(await blockscale("quantize", old, out, "--to", "modelopt")).toMatchObject({ code: 0 });
  writeFileSync(join(out, "thesis.txt"), "x");
  writeFileSync(join(out, ".hidden.safetensors"), "x");
  symlinkSync(join(old, "model-00001-of-00003.safetensors"), join(out, "link.safetensors"));
  rmSync(join(model, "model.safetensors.index.json"));
  const before = snapshot(old);
  expect(await blockscale("quantize", model, out, "--overwrite")).toMatchObject({ code: 0 });
  expect([...snapshot(out).keys()]).toEqual([
    ".hidden.safetensors",
    "config.json",
    "model-00001-of-00001.safetensors",
    "sub/empty.txt",
    "thesis.txt",
    "tokenizer.json",
  ]);
  expect(snapshot(old)).toEqual(before);
  const { tensors, dialect } = JSON.parse((await blockscale("inspect", out, "--json")).out);
  expect({ n: tensors.length, dialect }).toEqual({ n: 4, dialect: "deepseek-v3.1" });
});

test("a worker that cannot open its shard ends with one message", async () => {
  const model = await makeModel(2);
  const shard = join(model, "model-00002-of-00002.safetensors");
  const removing = `data:text/javascript,${encodeURIComponent(`
    import { rmSync } from "node:fs";
    import { isMainThread } from "node:worker_threads";
    if (!isMainThread) rmSync(${JSON.stringify(shard)}, { force: true });
  `)}`;
  const { code, err } = await start(["quantize", model, output(), "--threads", "2"], ["--import", removing])
    .ended;
  const message = `blockscale: ${shard}: expected a readable file or folder, got no such file or folder. Check the path.\n`;
  expect({ code, err }).toEqual({ code: 1, err: message });
});

test("two runs of one command into one folder leave it whole, and neither stumbles over the other", async () => {
  const model = await makeModel(2, 64);
  const whole = output();
  await blockscale("quantize", model, whole);
  for (let i = 0; i < 3; i++) {
    const out = output();
    const ends = await Promise.all([0, 1].map(() => blockscale("quantize", model, out)));
    expect(ends.map(({ code }) => code)).toContain(0);
    for (const { code, err } of ends) {
      // One began when the other had ended: that is no longer the same run.
      if (code === 2) {
        expect(err).toMatch(/expected a new or empty folder, .* got \d+ files/);
        continue;
      }
      expect(code).toBe(0);
      // Whoever comes second is told of the other, if that is still writing.
      expect(err).toMatch(
        /^(blockscale: process \d+ is writing into .* too; both make the same files\.\n)?$/,
      );
    }
    expect(snapshot(out)).toEqual(snapshot(whole));
  }
});

test("a finished output that was changed is refused without a word of open files", async () => {
  const model = await makeModel(3, 64);
  const out = output();
  await blockscale("quantize", model, out);
  writeFileSync(join(out, "model-00003-of-00003.safetensors"), "");
  const { code, err } = await start(["quantize", model, out], ["--expose-gc", "--import", COLLECTING]).ended;
  expect(code).toBe(2);
  expect(err).toMatch(/model-00003-of-00003\.safetensors is damaged or of another command\..*--overwrite/);
  expect(err).not.toContain("garbage collection");
});
