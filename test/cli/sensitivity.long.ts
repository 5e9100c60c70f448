import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { stories } from "../../src/web/train/stories.ts";
import { fileWith, tensor } from "../support/checkpoint-files.ts";
import { blockscale, temporaryFolder } from "../support/cli-runner.ts";

const folder = temporaryFolder();
const original = (name: string): string => new URL(`../evaluate/models/${name}`, import.meta.url).pathname;
const textOf = (name: string): string[] => [
  "--tokens",
  join(original(name), "tokens.safetensors"),
  "--context",
  "64",
  "--json",
];

interface Point {
  readonly mix: string;
  readonly bitsPerWeight: number;
  readonly kldMean: number;
  readonly score: number;
  readonly kldOverChosen: number;
  readonly kldOverChosenError: number;
}

async function pointsOf(name: string, ...more: string[]): Promise<Point[]> {
  const { code, out, err } = await blockscale("sensitivity", original(name), ...textOf(name), ...more);
  expect(code, err).toBe(0);
  return JSON.parse(out).points;
}

const named = (points: readonly Point[], mix: string): Point => points.find((point) => point.mix === mix)!;

describe("the chosen mix", () => {
  test("of a mixture of experts is nearer to the original than uniform FP8 of as many bits", async () => {
    const points = await pointsOf("deepseek_v3", "--bits", "8");
    const [chosen, fp8] = [named(points, "chosen"), named(points, "fp8")];
    expect(chosen.bitsPerWeight).toBeLessThanOrEqual(fp8.bitsPerWeight);
    expect(chosen.kldMean).toBeLessThan(0.8 * fp8.kldMean);
    // As torch has it.
    expect(fp8.kldMean).toBeCloseTo(
      JSON.parse(readFileSync(join(original("deepseek_v3"), "answer.json"), "utf8")).kldMean,
      4,
    );
  });

  test("by gradients is nearer than what lies between the uniform formats", async () => {
    const report = join(folder, "report.html");
    const points = await pointsOf("qwen3", "--bits", "6", "--report", report);
    const page = readFileSync(report, "utf8");
    expect([...page.matchAll(/<figure id="(\w+)">/g)].map(([, id]) => id)).toEqual([
      "curve",
      "heat",
      "positions",
      "losses",
    ]);
    const [low, chosen, high] = ["nvfp4", "chosen", "fp8"].map((mix) => named(points, mix)) as [
      Point,
      Point,
      Point,
    ];
    const part = (chosen.bitsPerWeight - low.bitsPerWeight) / (high.bitsPerWeight - low.bitsPerWeight);
    // A straight line of the logarithm, which falls with bits.
    const between = low.kldMean ** (1 - part) * high.kldMean ** part;
    expect(chosen.bitsPerWeight).toBeLessThanOrEqual(6);
    expect(chosen.kldMean).toBeLessThan(0.9 * between);
  });
});

test("a measured mix is no worse than a uniform format of as many bits, and measured scores add up", async () => {
  const points = await pointsOf("qwen3", "--formats", "nvfp4,fp8,bf16", "--bits", "8.25", "--measure");
  const { score, kldMean } = named(points, "fp8");
  const within = points.filter(({ bitsPerWeight }) => bitsPerWeight <= 8.25 + 1e-6);
  expect(Math.min(...within.map((point) => point.kldMean))).toBeLessThanOrEqual(kldMean);
  expect(Math.abs(score / kldMean - 1)).toBeLessThan(0.05);
});

/** The JSON that a command prints. */
async function jsonOf(...command: string[]) {
  const { code, out, err } = await blockscale(...command);
  expect(code, err).toBe(0);
  return JSON.parse(out);
}

test("where q, k and v may differ, MXFP6 and BF16 beat FP8 with fewer bits, and are written so", async () => {
  const overrides = join(folder, "apart.json");
  const flags = ["--formats", "mxfp6,fp8,bf16", "--bits", "7.1", "--apart", "--out", overrides];
  const points = await pointsOf("qwen3", ...flags);
  const [chosen, fp8] = [named(points, "chosen"), named(points, "fp8")];
  expect(chosen.bitsPerWeight).toBeLessThan(7.1);
  expect(chosen.kldMean).toBeLessThan(0.9 * fp8.kldMean);
  const written: { pattern: string; scheme: string }[] = JSON.parse(readFileSync(overrides, "utf8"));
  const of = (part: string) => written.find(({ pattern }) => pattern.endsWith(`0.self_attn.${part}.weight`));
  expect([of("q_proj")?.scheme, of("v_proj")?.scheme]).toEqual(["mxfp6", "keep"]);
});

test("on a model that was trained, MXFP6 and BF16 beat uniform FP8 of as many bits, as evaluate shows", async () => {
  const model = new URL("../../src/web/examples/stories", import.meta.url).pathname;
  // The page's example, whose tokens are bytes of such stories. In capitals they are new to it.
  const text = stories(7, 100).toUpperCase();
  const ids = Int32Array.from(new TextEncoder().encode(text).subarray(0, 8192));
  const tokens = join(folder, "bytes.safetensors");
  const file = fileWith([tensor("ids", "I32", [ids.length], new Uint8Array(ids.buffer))]);
  writeFileSync(tokens, new Uint8Array(await file.arrayBuffer()));
  const said = ["--tokens", tokens, "--context", "64", "--json"];
  const overrides = join(folder, "six.json");
  const flags = ["--formats", "mxfp6,fp8,bf16", "--bits", "8.0005", "--out", overrides];
  const { points } = await jsonOf("sensitivity", model, ...said, ...flags);
  const [chosen, fp8] = [named(points, "chosen"), named(points, "fp8")];
  const made = join(folder, "six");
  const run = await blockscale("quantize", model, made, "--overrides", overrides);
  expect([run.code, run.err]).toEqual([0, ""]);
  const { kldMean } = await jsonOf("evaluate", made, "--against", model, ...said);
  expect(kldMean).toBe(chosen.kldMean);
  expect(chosen.bitsPerWeight).toBeLessThanOrEqual(fp8.bitsPerWeight);
  // By more than twice the standard error of the difference.
  expect(fp8.kldOverChosen).toBeGreaterThan(2 * fp8.kldOverChosenError);
});

test.each(["qwen3", "deepseek_v3"])("what --out writes is what quantize makes: %s", async (name) => {
  const overrides = join(folder, "keep.json");
  const path = join(folder, "mixed");
  const points = await pointsOf(name, "--bits", "7", "--out", overrides);
  const patterns: string[] = JSON.parse(readFileSync(overrides, "utf8")).map(
    ({ pattern }: { pattern: string }) => pattern,
  );
  // One pattern for all experts of a layer: a model may have tens of thousands.
  const experts = patterns.filter((pattern) => pattern.includes(".experts."));
  expect(experts).toEqual(
    name === "qwen3" ? [] : [1, 2].map((layer) => `model.layers.${layer}.mlp.experts.*`),
  );
  const { code, err } = await blockscale(
    "quantize",
    original(name),
    path,
    "--overrides",
    overrides,
    "--overwrite",
  );
  expect([code, err]).toEqual([0, ""]);
  const { quantization_config: label } = JSON.parse(readFileSync(join(path, "config.json"), "utf8"));
  expect(label.format).toBe("mixed-precision");
  expect(Object.keys(label.config_groups).length).toBeGreaterThan(1);
  const { out } = await blockscale("evaluate", path, "--against", original(name), ...textOf(name));
  const { kldMean, bitsPerWeight } = named(points, "chosen");
  expect(bitsPerWeight).toBeGreaterThan(6.5);
  const fp8 = named(points, "fp8");
  expect(fp8.kldOverChosen).toBeCloseTo(fp8.kldMean - kldMean, 12);
  expect(fp8.kldOverChosenError).toBeGreaterThan(0);
  // A mix is measured by the codes and scales that are written, the float32 that fused parts of NVFP4 share included.
  expect(JSON.parse(out).kldMean).toBe(kldMean);
});

test("says what is wrong", async () => {
  const path = original("qwen3");
  const run = (...more: string[]) => blockscale("sensitivity", path, ...textOf("qwen3").slice(0, 4), ...more);
  expect((await run("--formats", "fp9")).err).toMatch(/--formats: expected some of nvfp4/);
  const control = await run("--formats", "e5m2,bf16", "--out", join(folder, "x.json"));
  expect(control.err).toMatch(/e5m2, which is for comparison only/);
  expect((await run("--bits", "2")).err).toMatch(/a budget that some mix/);
  // Told before the work begins, not when it is done.
  const nowhere = await run("--out", join(folder, "no such folder", "x.json"));
  expect(nowhere).toMatchObject({ code: 1, out: "", err: expect.stringMatching(/no such file or folder/) });
  expect((await blockscale("sensitivity", path)).code).toBe(2);
});
