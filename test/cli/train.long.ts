import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { blockscale, snapshot, start, temporaryFolder } from "../support/cli-runner.ts";

const folder = temporaryFolder();
const text = join(folder, "text.txt");
const words = ["in", "the", "beginning", "was", "word", "and", "light"];
writeFileSync(text, Array.from({ length: 6000 }, (_, i) => words[(i * i + (i >> 3)) % 7]).join(" "));
const config = join(folder, "config.json");
writeFileSync(
  config,
  JSON.stringify({
    architectures: ["LlamaForCausalLM"],
    hidden_size: 64,
    intermediate_size: 128,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    head_dim: 32,
    vocab_size: 1,
    max_position_embeddings: 16,
    rms_norm_eps: 1e-6,
    tie_word_embeddings: true,
    hidden_act: "silu",
  }),
);
const OPTIONS = [
  "--config",
  config,
  "--steps",
  "60",
  "--batch",
  "8",
  "--context",
  "32",
  "--every",
  "10",
  "--learning-rate",
  "0.01",
];

test("trains a model that generates words of its text, and goes on after a kill to the same bits", async () => {
  const whole = join(folder, "whole");
  const { code, out, err } = await blockscale(
    "train",
    text,
    whole,
    ...OPTIONS,
    "--json",
    "--report",
    join(folder, "run.html"),
  );
  expect([code, err]).toEqual([0, ""]);
  const record = JSON.parse(out);
  expect(record.steps).toBe(60);
  expect(record.validation).toBeLessThan(2);
  expect(readFileSync(join(folder, "run.html"), "utf8")).toContain('<figure id="flushed">');
  expect(readdirSync(whole).sort()).toEqual([
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "training.json",
  ]);
  const generated = await blockscale(
    "generate",
    whole,
    "in the ",
    "--max-tokens",
    "24",
    "--temperature",
    "0",
  );
  expect(generated.code).toBe(0);
  expect(words.some((word) => word.length > 2 && generated.out.includes(word))).toBe(true);
  const killed = join(folder, "killed");
  for (let turn = 0; turn < 2; turn++) {
    const { child, ended } = start(["train", text, killed, ...OPTIONS]);
    const before = existsSync(killed) ? readdirSync(killed).join() : "";
    while (
      !existsSync(killed) ||
      readdirSync(killed)
        .filter((name) => name.startsWith("checkpoint-"))
        .join() === before
    )
      await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill("SIGKILL");
    await ended;
  }
  expect(existsSync(join(killed, "model.safetensors"))).toBe(false);
  const changed = await blockscale("train", text, killed, ...OPTIONS, "--seed", "2");
  expect(changed.err).toMatch(/same texts and options/);
  expect((await blockscale("train", text, killed, ...OPTIONS)).code).toBe(0);
  expect(snapshot(killed)).toEqual(snapshot(whole));
}, 120_000);

test("goes on with a checkpoint on another text, all weights or adapters", async () => {
  const other = join(folder, "other.txt");
  writeFileSync(other, Array.from({ length: 3000 }, (_, i) => words[(i * 3) % 7]).join(" "));
  const options = ["--from", join(folder, "whole"), "--steps", "12", "--batch", "8", "--context", "16"];
  const tuned = join(folder, "tuned");
  expect((await blockscale("train", other, tuned, ...options)).code).toBe(0);
  const adapted = join(folder, "adapted");
  const lora = ["--lora", "4", "--lora-targets", "q_proj", "down_proj", "--every", "6"];
  const { code, out } = await blockscale("train", other, adapted, ...options, ...lora, "--json");
  expect(code).toBe(0);
  expect(JSON.parse(out).steps).toBe(12);
  expect(readdirSync(join(adapted, "adapter")).sort()).toEqual([
    "adapter_config.json",
    "adapter_model.safetensors",
  ]);
  for (const model of [tuned, adapted]) {
    const generated = await blockscale("generate", model, "in ", "--max-tokens", "8", "--temperature", "0");
    expect(generated.code).toBe(0);
    expect(generated.out.length).toBeGreaterThan(3);
  }
  const alone = await blockscale("train", other, join(folder, "w"), "--lora", "4");
  expect(alone.err).toMatch(/a model to adapt/);
}, 120_000);

test("says what is wrong", async () => {
  expect((await blockscale("train", text)).code).toBe(2);
  expect((await blockscale("train", text, join(folder, "x"), "--recipe", "fp3")).code).toBe(2);
  const short = join(folder, "short.txt");
  writeFileSync(short, "in the beginning");
  expect((await blockscale("train", short, join(folder, "y"))).err).toMatch(/at least \d+ tokens of text/);
  expect((await blockscale("train", join(folder, "none.txt"), join(folder, "z"))).code).toBe(1);
  expect(readFileSync(config, "utf8")).toContain('"vocab_size":1');
});
