import { execFileSync } from "node:child_process";
import {
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import {
  blockscale,
  layer,
  MOVING,
  startLimited,
  temporaryFolder,
  writeFileWith,
} from "../support/cli-runner.ts";

const folder = temporaryFolder();
const input = join(folder, "in.safetensors");
let original: Buffer;

beforeAll(async () => {
  await writeFileWith(input, [...layer(0, 160), ...layer(1, 192)]);
  original = readFileSync(input);
});

describe("quantize and inspect", () => {
  test("print a table with a row for each tensor and a total", async () => {
    const { code, out, err } = await blockscale("quantize", input, join(folder, "table.safetensors"));
    expect({ code, err }).toEqual({ code: 0, err: "" });
    for (const { name } of [...layer(0, 160), ...layer(1, 192)]) expect(out).toContain(`| ${name} `);
    expect(out).toMatch(/BF16 -> F8_E4M3 .* 3[0-9]\.\d\d /);
    expect(out).toMatch(/total: 4 of 8 converted/);
    expect(out).toMatch(/- 2: router gate/);
    expect(readFileSync(input).equals(original)).toBe(true);
  });

  test("print JSON and nothing else for machines", async () => {
    const output = join(folder, "json.safetensors");
    const { code, out } = await blockscale("quantize", input, output, "--json");
    expect(code).toBe(0);
    const report = JSON.parse(out);
    expect(report).toMatchObject({ input, output, kind: "quantize", to: "deepseek-v3.1" });
    expect(report.tensors).toHaveLength(8);
    expect(report.tensors[0]).toMatchObject({
      name: "model.layers.0.self_attn.q_proj.weight",
      action: "quantize",
      before: { dtype: "BF16", bytes: 2 * 160 * 160 },
      after: { dtype: "F8_E4M3", bytes: 160 * 160 + 4 * 4 },
      precision: { saturated: 0, values: 160 * 160, sqnrDb: expect.closeTo(31.5, 0) },
    });
    expect(report.total).toMatchObject({ tensors: 8, converted: 4 });
    const inspected = JSON.parse((await blockscale("inspect", output, "--json")).out);
    expect(inspected).toMatchObject({ dialect: "deepseek-v3.1", metadata: { format: "pt" } });
    expect(inspected.tensors[0].scaled).toMatchObject({ block: [128, 128], scaleDtype: "F32" });
  });

  test("give the same bytes whatever the number of threads", async () => {
    const outputs = await Promise.all(
      ["1", "2", "3"].map(async (threads) => {
        const output = join(folder, `threads-${threads}.safetensors`);
        expect(await blockscale("quantize", input, output, "--threads", threads)).toMatchObject({
          code: 0,
          err: "",
        });
        return readFileSync(output);
      }),
    );
    for (const output of outputs) expect(output.equals(outputs[0]!)).toBe(true);
  });

  test("dequantize brings the values back", async () => {
    const [fp8, back, again] = ["fp8", "back", "again"].map((name) =>
      join(folder, `${name}.safetensors`),
    ) as [string, string, string];
    await blockscale("quantize", input, fp8);
    expect(await blockscale("dequantize", fp8, back)).toMatchObject({ code: 0 });
    expect(readFileSync(back).length).toBe(original.length);
    // What FP8 can hold is not changed when it is quantised again.
    const { out } = await blockscale("quantize", back, again, "--json");
    expect(JSON.parse(out).total.precision).toMatchObject({
      sqnrDb: null,
      maxAbsoluteError: 0,
      flushedToZero: 0,
    });
  });

  test("a dry run tells the exact size and writes nothing", async () => {
    const before = readdirSync(folder);
    const output = join(folder, "dry.safetensors");
    const { out } = await blockscale("quantize", input, output, "--dry-run", "--json");
    expect(readdirSync(folder)).toEqual(before);
    await blockscale("quantize", input, output);
    const files = [{ name: "dry.safetensors", bytes: readFileSync(output).length }];
    expect(JSON.parse(out)).toMatchObject({ dryRun: true, files, total: { converted: 4 } });
  });

  test("patterns, dialects and overrides arrive", async () => {
    const overrides = join(folder, "overrides.json");
    writeFileSync(overrides, JSON.stringify([{ pattern: "*.1.mlp.down_proj.weight", scheme: "keep" }]));
    const output = join(folder, "options.safetensors");
    const flags = [
      "--to",
      "mxfp8",
      "--exclude",
      "*.0.*",
      "--also",
      "*.1.mlp.gate.*",
      "--only",
      "*.q_proj.weight",
      "--overrides",
      overrides,
    ];
    const { code, out } = await blockscale("quantize", input, output, ...flags, "--json");
    expect(code).toBe(0);
    const { tensors } = JSON.parse(out);
    const changed = tensors.filter((tensor: { action: string }) => tensor.action === "quantize");
    expect(changed.map(({ name }: { name: string }) => name)).toEqual([
      "model.layers.1.self_attn.q_proj.weight",
      "model.layers.1.mlp.gate.weight",
    ]);
  });
});

describe("wrong usage ends with 2", () => {
  test.each([
    [["frobnicate"]],
    [["quantize", "a"]],
    [["quantize", "a", "b", "--to", "fp7"]],
    [["quantize", "a", "b", "--threads", "0"]],
    [["quantize", "a", "b", "--whatever"]],
    [["dequantize", "a", "b", "--dtype", "int8"]],
    [["quantize", "", "b"]],
    [["dequantize", "a", ""]],
    [["inspect", ""]],
    [["compare", "a", ""]],
    [["quantize", "a", "b", "--overrides", ""]],
    [["inspect", "http://"]],
    [["inspect", "http://[/"]],
    [["quantize", "http://127.0.0.1:1/%zz.safetensors", "b"]],
    [["quantize", "\u001b[2J\u009b", "b", "--\u001b[2J"]],
    [[]],
  ])("%j", async (args) => {
    const { code, err } = await blockscale(...args);
    expect(code).toBe(2);
    expect(err).not.toBe("");
    expect(err).not.toMatch(/\n {4}at /);
    expect(err).not.toMatch(MOVING);
  });

  test("also an output that is the input, by whatever name", async () => {
    const [soft, hard] = [join(folder, "soft.safetensors"), join(folder, "hard.safetensors")];
    symlinkSync(input, soft);
    linkSync(input, hard);
    for (const output of [input, soft, hard]) {
      const { code, err } = await blockscale("quantize", input, output);
      expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining("the same file") });
    }
    expect(readFileSync(input).equals(original)).toBe(true);
  });

  test("also an output that is there already, until told to; what the same command left may be made again", async () => {
    const output = join(folder, "precious.safetensors");
    writeFileSync(output, "precious");
    const { code, err } = await blockscale("quantize", input, output);
    expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining("--overwrite") });
    expect(readFileSync(output, "utf8")).toBe("precious");
    expect(await blockscale("quantize", input, output, "--overwrite")).toMatchObject({ code: 0 });
    expect(await blockscale("quantize", input, output)).toMatchObject({ code: 0 });
    expect(await blockscale("quantize", input, output, "--to", "mxfp8")).toMatchObject({ code: 2 });
  });

  test("also an output that is a pipe, a device or a folder, whatever told", async () => {
    const [pipe, link, taken] = ["pipe", "link", "taken"].map((name) =>
      join(folder, `${name}.safetensors`),
    ) as [string, string, string];
    execFileSync("mkfifo", [pipe]);
    symlinkSync("/dev/null", link);
    mkdirSync(taken);
    for (const output of [pipe, link, taken]) {
      const { code, err } = await blockscale("quantize", input, output, "--overwrite");
      expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining(output) });
    }
    expect(lstatSync(pipe).isFIFO() && lstatSync(link).isSymbolicLink()).toBe(true);
    expect(readdirSync(folder).filter((name) => name.startsWith("."))).toEqual([]);
  });

  test("--version ends with 0 and says which", async () => {
    const { code, out } = await blockscale("--version");
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
    expect([code, out.trim()]).toEqual([0, version]);
  });

  test("--help ends with 0 and explains", async () => {
    const { code, out } = await blockscale("quantize", "--help");
    expect(code).toBe(0);
    expect(out).toMatch(/deepseek-v3\.1[\s\S]*Examples:/);
  });
});

describe("failures end with 1, one message, and no file", () => {
  const cases: [what: string, prepare: (path: string) => void, message: RegExp][] = [
    ["a file that is not there", () => {}, /no such file/],
    ["a truncated file", (path) => writeFileSync(path, original.subarray(0, -1)), /cut off/],
    ["an empty file", (path) => writeFileSync(path, ""), /at least 8 bytes/],
    [
      "a file of something else",
      (path) => writeFileSync(path, "#!/usr/bin/env python\nprint('hello')\n"),
      /plain text/,
    ],
    ["an empty folder", (path) => mkdirSync(path), /at least one .safetensors/],
  ];
  test.each(cases)("%s", async (what, prepare, message) => {
    const path = join(folder, what.replaceAll(" ", "-"));
    prepare(path);
    const output = join(folder, "never.safetensors");
    // Both commands read alike.
    const command = what.startsWith("an empty") ? "dequantize" : "quantize";
    const { code, out, err } = await blockscale(command, path, output);
    expect({ code, out, err }).toEqual({ code: 1, out: "", err: expect.stringMatching(message) });
    expect(err.trim().split("\n")).toHaveLength(1);
    expect(err).toContain(what.replaceAll(" ", "-"));
    expect(readdirSync(folder).filter((name) => name.includes("never"))).toEqual([]);
  });

  test("an output in a folder that is not there", async () => {
    expect(await blockscale("quantize", input, join(folder, "no/where.safetensors"))).toMatchObject({
      code: 1,
    });
  });

  test("no room for the output", async () => {
    const output = join(folder, "large.safetensors");
    const { code, err } = await startLimited("ulimit -f 40", ["quantize", input, output]);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining("large.safetensors") });
    expect(readdirSync(folder).filter((name) => name.includes("large"))).toEqual([]);
  });
});
