import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { tensor } from "../support/checkpoint-files.ts";
import { blockscale, cutOff, expectSameFiles, workplace, writeFileWith } from "../support/cli-runner.ts";

const { makeModel, output } = workplace();

describe("what an unfinished run has noted", () => {
  test("tells of values that are not finite what a run that was not cut off tells", async () => {
    const model = output();
    mkdirSync(model);
    for (const [name, scale] of [
      ["a", 4096],
      ["b", 1],
    ] as const) {
      await writeFileWith(join(model, `${name}.safetensors`), [
        tensor(`${name}.weight`, "F8_E4M3", [1, 4], Uint8Array.of(0x7e, 0x38, 0x7e, 0x38)),
        tensor(`${name}.weight_scale_inv`, "F32", [1, 1], Float32Array.of(scale)),
      ]);
    }
    const command = (out: string) => ["dequantize", model, out, "--dtype", "f16"];
    const [whole, out, again] = [output(), output(), output()];
    const wanted = JSON.parse((await blockscale(...command(whole), "--json")).out);
    expect(wanted.tensors[0].precision).toMatchObject({ sqnrDb: "-Infinity", nonFinite: 2, values: 4 });
    expect(wanted.tensors[1].precision).toMatchObject({ sqnrDb: null, nonFinite: 0 });
    expect(wanted.total.precision).toMatchObject({ sqnrDb: "-Infinity", nonFinite: 2 });
    await cutOff(...command(out), "--json");
    expect(existsSync(join(out, "b.safetensors"))).toBe(false);
    const found = await blockscale(...command(out), "--json");
    expect({ ...JSON.parse(found.out), output: whole }).toEqual(wanted);
    await cutOff(...command(again));
    const { out: table } = await blockscale(...command(again));
    expect(table).toMatch(/a\.weight .* 2 not finite /);
    expect(table).toMatch(/b\.weight .* exact /);
    expect(table).toMatch(/Not finite: 2 values became NaN or Inf/);
  });

  const journal = ".blockscale-unfinished.jsonl";
  const first = "model-00001-of-00002.safetensors";

  test("counts line by line: what is damaged is done again", async () => {
    const model = await makeModel(2, 64);
    const [whole, out] = [output(), output()];
    await blockscale("quantize", model, whole);
    await cutOff("quantize", model, out);
    const [task, line] = readFileSync(join(out, journal), "utf8").split("\n") as [string, string];
    const [file, measured, fingerprint] = JSON.parse(line);
    expect(file).toBe(first);
    const [[weight, precision]] = measured;
    const lines = [
      [5],
      5,
      null,
      [file, 5, fingerprint],
      [file, measured],
      [file, [[weight, null]], fingerprint],
      [file, [null], fingerprint],
      [file, [[weight, { ...precision, noise: null }], measured[1]], fingerprint],
      [file, [[weight, { ...precision, noise: "0" }], measured[1]], fingerprint],
      [file, measured.slice(1), fingerprint],
      [file, [...measured, ["another", precision]], fingerprint],
      [file, measured, "0"],
    ].map((damaged) => JSON.stringify(damaged));
    for (const damaged of [...lines, line.slice(0, -1), `${line}\n{`, "\u0000\u0000"]) {
      const copy = output();
      mkdirSync(copy);
      copyFileSync(join(out, first), join(copy, first));
      utimesSync(join(copy, first), 1, 1);
      writeFileSync(join(copy, journal), `${task}\n${damaged}\n`);
      const { code, err } = await blockscale("quantize", model, copy);
      expect({ damaged, code, err }).toEqual({ damaged, code: 0, err: "" });
      expectSameFiles(copy, whole);
      // The one line that is whole still counts.
      expect(statSync(join(copy, first)).mtimeMs === 1000, damaged).toBe(damaged.startsWith(line));
    }
  });

  test.each(["", "\n", "{", "\u0000\n"])("is called damaged where it begins with %j", async (text) => {
    const model = await makeModel(2, 64);
    const out = output();
    await cutOff("quantize", model, out);
    writeFileSync(join(out, journal), text);
    const { code, err } = await blockscale("quantize", model, out);
    expect({ code, err }).toEqual({ code: 2, err: expect.stringMatching(/^blockscale: .* is damaged.*\n$/) });
    expect(await blockscale("quantize", model, out, "--overwrite")).toMatchObject({ code: 0, err: "" });
  });

  test("does not count for a file that is not the one that was finished", async () => {
    const model = await makeModel(2, 600);
    const [whole, out] = [output(), output()];
    await blockscale("quantize", model, whole);
    await cutOff("quantize", model, out);
    const path = join(out, first);
    const [original, noted] = [readFileSync(path), readFileSync(join(out, journal))];
    const { length } = original;
    const changed = (from: number, to: number) => {
      const bytes = Buffer.from(original);
      bytes.fill(0, from, to);
      writeFileSync(path, bytes);
    };
    for (const damage of [
      () => changed(0, 8),
      () => changed(length >> 1, (length >> 1) + (length >> 4)),
      () => changed(length - 8, length),
      () => truncateSync(path, length - 1),
      () => truncateSync(path, 0),
    ]) {
      damage();
      writeFileSync(join(out, journal), noted);
      expect(await blockscale("quantize", model, out)).toMatchObject({ code: 0, err: "" });
      expectSameFiles(out, whole);
    }
  });
});
