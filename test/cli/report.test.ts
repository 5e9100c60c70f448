import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { reserveReport } from "../../src/cli/report.ts";
import type { Stored } from "../support/checkpoint-files.ts";
import {
  blockscale,
  cutOff,
  layer,
  startLimited,
  temporaryFolder,
  writeFileWith,
} from "../support/cli-runner.ts";

const folder = temporaryFolder();
const model = join(folder, "model");
let made = 0;
const path = (ending: string) => join(folder, `${made++}${ending}`);

beforeAll(async () => {
  mkdirSync(model);
  for (const n of [0, 1]) await writeFileWith(join(model, `model-${n}.safetensors`), layer(n, 160));
});

/** Charts of a page, by the identity of their figures. */
function chartsOf(page: string): string[] {
  return [...page.matchAll(/<figure id="(\w+)">/g)].map(([, id]) => id!);
}

function rowsOf(page: string): number {
  return /<table class="sortable">.*?<tbody>(.*?)<\/tbody>/s.exec(page)![1]!.match(/<tr>/g)!.length;
}

/** What a command writes beside its answer. */
async function reportOf(...args: string[]): Promise<string> {
  const page = path(".html");
  const { code, err } = await blockscale(...args, "--report", page);
  expect({ code, err }).toEqual({ code: 0, err: "" });
  return readFileSync(page, "utf8");
}

const ALL = ["sqnr", "exponents", "layers", "errors", "values"];

describe("--report writes a page of", () => {
  test("a conversion there and back, a comparison and an inspection", async () => {
    const [fp8, back] = [path("-fp8"), path("-back")];
    const made = await reportOf("quantize", model, fp8);
    expect(chartsOf(made)).toEqual(ALL);
    expect(rowsOf(made)).toBe(8);
    // Two layers of 160 x 160 and 160 x 192 in blocks of 128 x 128.
    expect(made).toContain("Scales of the output by power of two: all 16 of them.");
    const undone = await reportOf("dequantize", fp8, back);
    expect(undone).toContain("Scales of the input by power of two: all 16 of them.");
    expect(chartsOf(undone)).toEqual(ALL.slice(1));
    const compared = await reportOf("compare", model, fp8);
    expect(chartsOf(compared)).toEqual(ALL);
    expect(compared).toMatch(/Cosine.*0\.999/s);
    const inspected = await reportOf("inspect", fp8);
    expect(chartsOf(inspected)).toEqual(["exponents", "layers"]);
    expect(inspected).toContain("<dt>Format</dt><dd>deepseek-v3.1</dd>");
    expect(chartsOf(await reportOf("inspect", model))).toEqual([]);
  });

  test("what --json tells, which it does not disturb", async () => {
    const page = path(".html");
    const { out } = await blockscale("quantize", model, path("-fp8"), "--json", "--report", page);
    const { tensors, total } = JSON.parse(out);
    const html = readFileSync(page, "utf8");
    const figures = tensors.flatMap(({ precision }: { precision: { sqnrDb: number } | null }) =>
      precision === null ? [] : [`${precision.sqnrDb.toFixed(2)} dB`],
    );
    expect(figures.length).toBe(4);
    for (const figure of [...figures, `${total.precision.sqnrDb.toFixed(2)} dB`])
      expect(html).toContain(figure);
  });

  test("hostile names", async () => {
    const [file, page] = [path(".safetensors"), path(".html")];
    const [tensor] = layer(0, 128) as [Stored];
    await writeFileWith(file, [{ ...tensor, name: "</script><img src=x onerror=alert(1)>.0.weight" }]);
    await blockscale("quantize", file, path(".safetensors"), "--also", "*", "--report", page);
    const html = readFileSync(page, "utf8");
    expect(html).not.toContain("<img");
    expect(html.match(/<\/script/g)).toHaveLength(2);
  });

  test("values that became Inf, as lossy", async () => {
    const [file, page] = [path(".safetensors"), path(".html")];
    const scales = Float32Array.of(2 ** 12);
    await writeFileWith(file, [
      { name: "l.0.weight", dtype: "F8_E4M3", shape: [1, 4], bytes: Uint8Array.of(0x7e, 0x38, 0x38, 0x38) },
      { name: "l.0.weight_scale_inv", dtype: "F32", shape: [1, 1], bytes: new Uint8Array(scales.buffer) },
    ]);
    await blockscale("dequantize", file, path(".safetensors"), "--dtype", "f16", "--report", page);
    const html = readFileSync(page, "utf8");
    expect(html).toContain('<div class="bad"><dt>NaN or Inf</dt><dd>1</dd></div>');
    expect(html).toContain("<dt>Exact</dt><dd>0 of 1</dd>");
  });
});

describe("a report that cannot be written is refused before the work", () => {
  const out = path("-never");
  const precious = join(folder, "precious.html");
  const untouched = "<!doctype html>precious";
  beforeAll(() => writeFileSync(precious, untouched));

  const cases: [what: string, page: string, code: string, message: RegExp][] = [
    ["in a folder that is not there", join(folder, "no/where.html"), "io", /no such file/],
    ["in a file", join(precious, "x.html"), "io", /a file where a folder should be/],
    ["a folder", folder, "option", /got a folder/],
    ["a device", "/dev/null", "option", /a device/],
    ["the name of nothing", "", "option", /empty/],
    ["in the input", join(model, "report.html"), "option", /apart from/],
    ["one of the inputs", join(model, "model-0.safetensors"), "option", /apart from/],
    ["another file", precious, "option", /another file/],
  ];
  test.each(cases)("%s", async (_, page, code, message) => {
    const refused = reserveReport(page, [model, out]);
    await expect(refused).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    expect(readFileSync(precious, "utf8")).toBe(untouched);
  });

  test("by every command that has one, and nothing is written", async () => {
    const wrong = ["--report", precious];
    for (const command of [
      ["quantize", model, out],
      ["inspect", model],
      ["compare", model, model],
    ])
      expect(await blockscale(...command, ...wrong)).toEqual({
        code: 2,
        out: "",
        err: expect.stringMatching(/another file/),
      });
    const nowhere = join(folder, "no/where.html");
    expect(await blockscale("quantize", model, out, "--report", nowhere)).toMatchObject({ code: 1 });
    expect(existsSync(out)).toBe(false);
  });

  test("in the output, or the output itself, also through a link", async () => {
    const [there, link, file] = [path("-there"), path("-link"), path(".safetensors")];
    mkdirSync(there);
    symlinkSync(there, link);
    for (const page of [there, join(there, "report.html"), join(link, "report.html")])
      await expect(reserveReport(page, [model, there])).rejects.toMatchObject({ code: "option" });
    const input = join(model, "model-0.safetensors");
    expect(await blockscale("quantize", input, file, "--report", file)).toMatchObject({ code: 2 });
    expect(readdirSync(there)).toEqual([]);
    expect(existsSync(file)).toBe(false);
  });

  test("of a dry run, which writes nothing", async () => {
    const page = path(".html");
    const { code, err } = await blockscale("quantize", model, out, "--dry-run", "--report", page);
    expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining("--report") });
    expect(existsSync(page)).toBe(false);
  });
});

test("an earlier report and an empty file are replaced", async () => {
  const page = path(".html");
  writeFileSync(page, "");
  for (const input of [model, join(model, "model-0.safetensors")]) {
    expect(await blockscale("inspect", input, "--report", page)).toMatchObject({ code: 0 });
    expect(readFileSync(page, "utf8")).toContain(`<span>${input}</span>`);
  }
});

test("a conversion that fails leaves no report, nor a part of one", async () => {
  const [page, out] = [path(".html"), path(".safetensors")];
  const input = join(model, "model-0.safetensors");
  const { code } = await startLimited("ulimit -f 40", ["quantize", input, out, "--report", page]);
  expect(code).toBe(1);
  expect(readdirSync(folder).filter((name) => name.includes(page.slice(folder.length + 1)))).toEqual([]);
});

test("the report of a run that was cut off and taken up again is that of a whole one", async () => {
  const [out, page] = [path("-fp8"), path(".html")];
  const whole = await reportOf("quantize", model, out);
  const other = path("-fp8");
  const args = ["quantize", model, other, "--report", page];
  await cutOff(...args);
  expect(existsSync(page)).toBe(false);
  expect(await blockscale(...args)).toMatchObject({ code: 0, err: "" });
  expect(readFileSync(page, "utf8").replaceAll(other, out) === whole).toBe(true);
  const leftovers = readdirSync(folder).filter((name) => name.endsWith(".part"));
  expect(leftovers).toEqual([]);
});
