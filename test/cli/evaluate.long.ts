import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { scoreChunks } from "../../src/evaluate/evaluate.ts";
import { scoreStreamed } from "../../src/evaluate/head.ts";
import { runLayers } from "../../src/evaluate/layers.ts";
import { planStreamed } from "../../src/evaluate/streamed.ts";
import { openModel } from "../../src/model/open.ts";
import { openFolder } from "../../src/node.ts";
import { blockscale, start, temporaryFolder } from "../support/cli-runner.ts";
import { tokenizerFiles } from "../support/tokenizer-files.ts";

const folder = temporaryFolder();
const original = (name: string): string => new URL(`../evaluate/models/${name}`, import.meta.url).pathname;

/** A copy of a model in FP8. */
async function quantized(name: string): Promise<string> {
  const path = join(folder, name);
  const { code, err } = await blockscale("quantize", original(name), path, "--overwrite");
  expect([code, err]).toEqual([0, ""]);
  return path;
}

describe.each(["qwen3", "deepseek_v3"])("%s", (name) => {
  test("the figures are torch's", async () => {
    const path = await quantized(name);
    const options = ["--tokens", join(original(name), "tokens.safetensors"), "--context", "64", "--json"];
    const { code, out, err } = await blockscale("evaluate", path, "--against", original(name), ...options);
    expect(code).toBe(0);
    // What is read is told beforehand, and how long it takes once a layer tells.
    expect(err).toMatch(/^\d+ chunks of 64 tokens; reads at most [\d.]+ [kM]B, a layer at a time\.$/m);
    for (const which of ["model", "reference"])
      expect(err).toMatch(new RegExp(`^${which}: about \\d+ s for the \\d layers that are left\\.$`, "m"));
    const found = JSON.parse(out);
    const answer = JSON.parse(readFileSync(join(original(name), "answer.json"), "utf8"));
    for (const [key, value] of Object.entries(answer) as [string, number][])
      expect(Math.abs(found[key] - value), `${key}: ${found[key]} and ${value}`).toBeLessThanOrEqual(
        1e-3 * Math.abs(value),
      );
    expect(found.worst.length).toBe(10);
    const coarse = JSON.parse(
      (await blockscale("evaluate", path, "--against", original(name), ...options, "--activations", "fp8"))
        .out,
    );
    expect(coarse.kldMean).toBeGreaterThan(1.2 * found.kldMean);
    const cached = ["--against", path, ...options, "--cache", "fp8"];
    const short = JSON.parse((await blockscale("evaluate", path, ...cached)).out);
    expect(short.cache).toBe("fp8");
    expect(short.kldMean).toBeGreaterThan(0);
    expect(short.kldMean).toBeLessThan(found.kldMean);
    // Against itself nothing is lost, and without a reference only perplexity is told.
    const itself = JSON.parse((await blockscale("evaluate", path, "--against", path, ...options)).out);
    expect([itself.kldMax, itself.sameTop]).toEqual([0, 1]);
    const alone = await blockscale("evaluate", path, ...options.slice(0, -1));
    expect(alone.out).toMatch(/^Final estimate: PPL = 1\d\d\.\d{4} \+\/- \d\.\d{5}$/m);
    expect(alone.out.split("\n").length).toBe(2);
  });

  test("a run that is killed goes on to the same figures", async () => {
    const path = await quantized(name);
    const state = join(folder, `${name}-state`);
    const command = [
      "evaluate",
      path,
      "--against",
      original(name),
      "--tokens",
      join(original(name), "tokens.safetensors"),
    ];
    const options = ["--context", "64", "--threads", "1", "--json"];
    const whole = await blockscale(...command, ...options);
    const keptFiles = () => (existsSync(state) ? readdirSync(state, { recursive: true }).length : 0);
    // Killed as soon as something is kept, and once more a little later.
    for (const milliseconds of [0, 100]) {
      const { child, ended } = start([...command, ...options, "--state", state]);
      const watch = setInterval(() => {
        if (keptFiles() === 0) return;
        clearInterval(watch);
        setTimeout(() => child.kill("SIGKILL"), milliseconds);
      }, 5);
      await ended;
      clearInterval(watch);
    }
    const kept = keptFiles();
    const last = await blockscale(...command, ...options, "--state", state);
    expect(last.code).toBe(0);
    expect(last.out).toBe(whole.out);
    expect(readdirSync(state).filter((file) => file.endsWith(".states"))).toEqual([]);
    expect(kept).toBeGreaterThan(0);
  });
});

test("streamed and whole, a model says the same", async () => {
  const files = await openFolder(original("qwen3"));
  const model = await openModel(files);
  const ids = Int32Array.from({ length: 64 }, (_, i) => (i * 53) % 320);
  const whole = await scoreChunks({ logits: (some, from) => model.logits(some, { from }) }, ids, {
    context: 64,
  });
  await model.close();
  const plan = await planStreamed(files, ids, 64);
  const states = await runLayers(plan);
  expect(await scoreStreamed({ plan, states, options: {} }, null)).toEqual(whole);
  for (const file of files.values()) await file.close();
});

test("a text goes through the tokenizer of the model, and the worst tokens show what stands around", async () => {
  const path = join(folder, "with-tokenizer");
  mkdirSync(path, { recursive: true });
  for (const file of ["config.json", "model.safetensors"])
    writeFileSync(join(path, file), readFileSync(join(await quantized("qwen3"), file)));
  const text = join(folder, "text.txt");
  writeFileSync(text, "in the beginning the end was in the thing ".repeat(10));
  const missing = await blockscale("evaluate", path, "--text", text);
  expect(missing.err).toMatch(/tokenizer.json/);
  for (const [file, blob] of tokenizerFiles()) writeFileSync(join(path, file), await blob.text());
  const { out } = await blockscale(
    "evaluate",
    path,
    "--against",
    original("qwen3"),
    "--text",
    text,
    "--context",
    "32",
    "--report",
    join(folder, "report.html"),
  );
  expect(out).toMatch(/^Mean {4}KLD: +\d\.\d{6} ± +\d\.\d{6}$/m);
  expect(out).toMatch(/^Cor\(ln\(PPL\(Q\)\), ln\(PPL\(base\)\)\): *\d+\.\d\d%$/m);
  expect(out).toMatch(/^RMS Δp {4}: +\d+\.\d{3} ± +\d\.\d{3} %$/m);
  const page = readFileSync(join(folder, "report.html"), "utf8");
  expect([...page.matchAll(/<figure id="(\w+)">/g)].map(([, id]) => id)).toEqual(["positions", "losses"]);
  expect(/<td class="said">[^<]+<mark>[^<]*(in|the)[^<]*<\/mark>/.test(page)).toBe(true);
  expect(out).toMatch(/KLD 0\.\d+, p 0\.\d+ -> 0\.\d+: .*(in|the)/);
});

test("says what is wrong", async () => {
  const tokens = join(original("qwen3"), "tokens.safetensors");
  expect((await blockscale("evaluate", original("qwen3"))).code).toBe(2);
  expect((await blockscale("evaluate", original("qwen3"), "--tokens", tokens, "--context", "63")).code).toBe(
    2,
  );
  const long = await blockscale("evaluate", original("qwen3"), "--tokens", tokens, "--context", "1024");
  expect(long.err).toMatch(/at most 512 tokens/);
  // Every part would have no chunks, and the whole no figures.
  const part = ["--context", "4096", "--part", "1/2", "--out", join(folder, "parts")];
  const short = await blockscale("evaluate", original("qwen3"), "--tokens", tokens, ...part);
  expect(short).toMatchObject({
    code: 2,
    err: expect.stringMatching(/one context of 4096 tokens, got 2048/),
  });
  const none = await blockscale(
    "evaluate",
    original("qwen3"),
    "--tokens",
    join(original("qwen3"), "model.safetensors"),
  );
  expect(none.err).toMatch(/a tensor `ids`/);
});
