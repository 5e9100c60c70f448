import { existsSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { tellFinished } from "../../src/cli/part.ts";
import { filesOfPart, parsePart } from "../../src/jobs/parts.ts";
import type { SharedPlan } from "../../src/jobs/spec.ts";
import { blockscale, cutOff, expectSameFiles, snapshot, workplace } from "../support/cli-runner.ts";

const { makeModel, output } = workplace();

const files = (sizes: readonly number[]) =>
  sizes.map((size, i) => ({ name: `shard-${i}`, size, header: new Uint8Array(), steps: [] }));

describe("shares", () => {
  test.each([
    [[5, 4, 3, 3, 3], 2],
    [[1, 1, 1], 5],
    [Array.from({ length: 163 }, (_, i) => 4_000_000_000 + ((i * 7919) % 1000) * 1_000_000), 10],
  ])("of %j in %i parts: every file once, balanced", (sizes, of) => {
    const shares = Array.from({ length: of }, (_, i) => filesOfPart(files(sizes), { part: i + 1, of }));
    const names = shares.flat().map(({ name }) => name);
    expect(names.sort()).toEqual(
      files(sizes)
        .map(({ name }) => name)
        .sort(),
    );
    const bytes = shares.map((share) => share.reduce((sum, { size }) => sum + size, 0));
    expect(Math.max(...bytes) - Math.min(...bytes)).toBeLessThanOrEqual(Math.max(...sizes));
    const turned = filesOfPart(files(sizes).reverse(), { part: 1, of });
    expect(turned).toEqual(shares[0]);
  });

  test.each(["0/2", "3/2", "1", "1/0", "1/2/3", "a/b", "-1/2", "1.5/2", "1/100001", ""])(
    "%j is no part",
    (text) => expect(() => parsePart(text)).toThrow(/1\/8 to 8\/8/),
  );
});

describe("parts of a conversion", () => {
  test("in any order, together, and one killed and run again: the bytes of one machine", async () => {
    const model = await makeModel(5, 200);
    const [whole, out] = [output(), output()];
    const report = JSON.parse((await blockscale("quantize", model, whole, "--json")).out);
    const part = (i: number) => ["quantize", model, out, "--part", `${i}/3`];
    await cutOff(...part(2));
    const early = await blockscale("finish", out);
    expect(early).toMatchObject({ code: 1, err: expect.stringMatching(/all 5 output files.*4 missing/) });
    const results = await Promise.all([3, 1, 2].map((i) => blockscale(...part(i))));
    expect(results.map(({ code, err }) => ({ code, err }))).toEqual(Array(3).fill({ code: 0, err: "" }));
    const finished = await blockscale("finish", out, "--verify", "--json");
    expect(finished).toMatchObject({ code: 0, err: "" });
    expect({ ...JSON.parse(finished.out), output: whole }).toEqual({ ...report, input: model });
    expectSameFiles(out, whole);
    const again = await blockscale("finish", out);
    expect(again).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^Nothing to finish: .*a checkpoint/),
    });
    // What was noted of the files is gone.
    expect(await blockscale("finish", out, "--verify")).toMatchObject({ code: 2 });
    expect(await blockscale("finish", output())).toMatchObject({ code: 2 });
  });

  test("a new folder is not taken for a finished output, and no thread or engine is asked", async () => {
    const opened = {
      get sources(): never {
        throw new Error("asked");
      },
    };
    const shared = { opened } as unknown as SharedPlan;
    const { signal } = new AbortController();
    expect(await tellFinished(output(), shared, {}, signal)).toBe(false);
  });

  test("dequantize in parts, and make nothing twice", async () => {
    const [model, fp8, whole, out] = [await makeModel(3), output(), output(), output()];
    await blockscale("quantize", model, fp8);
    await blockscale("dequantize", fp8, whole);
    for (const made of [3, 0]) {
      const { out: text } = await blockscale("dequantize", fp8, out, "--part", "1/1", "--json");
      expect(JSON.parse(text)).toMatchObject({ part: 1, of: 1, made });
    }
    expect(await blockscale("finish", out)).toMatchObject({ code: 0 });
    expectSameFiles(out, whole);
  });

  test("a damaged shard is found, and made again", async () => {
    const [model, whole, out] = [await makeModel(2, 700), output(), output()];
    await blockscale("quantize", model, whole);
    await blockscale("quantize", model, out, "--part", "1/1");
    const shard = join(out, "model-00001-of-00002.safetensors");
    const bytes = readFileSync(shard);
    // Between the places of the short look: only --verify sees it.
    bytes[40_000]! ^= 1;
    writeFileSync(shard, bytes);
    expect(await blockscale("finish", out, "--verify")).toMatchObject({ code: 1 });
    expect(await blockscale("finish", out)).toMatchObject({ code: 1 });
    await blockscale("quantize", model, out, "--part", "1/1");
    expect(await blockscale("finish", out, "--verify")).toMatchObject({ code: 0 });
    expectSameFiles(out, whole);
  });

  test("other options, another version and a changed input are refused", async () => {
    const [model, out] = [await makeModel(2), output()];
    await blockscale("quantize", model, out, "--part", "1/2");
    const before = snapshot(out);
    const other = await blockscale("quantize", model, out, "--part", "2/2", "--to", "mxfp8");
    expect(other).toMatchObject({ code: 2, err: expect.stringContaining("another command") });
    const record = join(out, ".blockscale-run/run.json");
    const run = JSON.parse(readFileSync(record, "utf8"));
    writeFileSync(record, JSON.stringify({ ...run, version: "0.0.1", fingerprint: "0".repeat(64) }));
    for (const command of [
      ["quantize", model, out, "--part", "2/2"],
      ["finish", out],
    ]) {
      expect(await blockscale(...command)).toMatchObject({ code: 2, err: expect.stringContaining("0.0.1") });
    }
    writeFileSync(record, JSON.stringify(run));
    utimesSync(join(model, "tokenizer.json"), 5, 5);
    for (const command of [
      ["quantize", model, out, "--part", "2/2"],
      ["finish", out],
    ]) {
      expect(await blockscale(...command)).toMatchObject({
        code: 2,
        err: expect.stringContaining("changed"),
      });
    }
    expect(snapshot(out)).toEqual(before);
  });

  test.each(["", "{", "null", "[]", '{"format":1}'])(
    "a run whose record is %j is called damaged",
    async (text) => {
      const [model, out] = [await makeModel(2), output()];
      await blockscale("quantize", model, out, "--part", "1/2");
      writeFileSync(join(out, ".blockscale-run/run.json"), text);
      const { code, err } = await blockscale("finish", out);
      expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/run\.json: expected .*\n$/) });
    },
  );

  test("a finished output is left as it is; something else, and a single file, are refused", async () => {
    const [model, whole] = [await makeModel(2), output()];
    await blockscale("quantize", model, whole);
    const before = snapshot(whole);
    const part = (...flags: string[]) => blockscale("quantize", model, whole, "--part", "1/2", ...flags);
    expect(await part()).toMatchObject({ code: 0, out: expect.stringContaining("Already done") });
    expect(await part("--to", "mxfp8")).toMatchObject({ code: 2 });
    expect(snapshot(whole)).toEqual(before);
    const file = join(model, "model-00001-of-00002.safetensors");
    const out = output();
    expect(await blockscale("quantize", file, `${out}.safetensors`, "--part", "1/2")).toMatchObject({
      code: 2,
    });
    expect(existsSync(`${out}.safetensors`)).toBe(false);
  });
});
