import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseOverrides } from "../../src/checkpoint/dialects/overrides.ts";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { openCheckpoint } from "../../src/checkpoint/plan/folder.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import { TrainingRank } from "../../src/cli/train-ranks.ts";
import { openModel } from "../../src/model/open.ts";
import { createTrainer } from "../../src/train/create.ts";
import { fileWith, valuesAs } from "../support/checkpoint-files.ts";
import { blockscale, temporaryFolder } from "../support/cli-runner.ts";
import { filesOf } from "../support/models.ts";
import { randomNormal } from "../support/random.ts";

const folder = temporaryFolder();
const input = join(folder, "model.safetensors");
const tensors = [
  valuesAs("model.layers.0.mlp.up_proj.weight", "BF16", [64, 128], randomNormal(1, 64 * 128)),
  valuesAs("model.norm.weight", "BF16", [128], randomNormal(2, 128)),
];
writeFileSync(input, Buffer.from(await fileWith(tensors).arrayBuffer()));

test("compare ends with a verdict, and with 1 below the SQNR that is asked for", async () => {
  const output = join(folder, "fp8.safetensors");
  const made = await blockscale("quantize", input, output);
  expect(made.out).toMatch(/Wrote .*fp8\.safetensors: [\d.]+ kB in [\d.]+ s, [\d.]+ .B\/s\.\n$/);
  const good = await blockscale("compare", input, output, "--min-sqnr", "25");
  expect(good.code).toBe(0);
  expect(good.out).toMatch(
    /2 tensors, 1 of them without loss; the least SQNR is 3[12]\.\d\d dB, of model\.layers\.0/,
  );
  const bad = await blockscale("compare", input, output, "--min-sqnr", "40");
  expect([bad.code, bad.err]).toEqual([1, expect.stringMatching(/1 tensor below it/)]);
  expect((await blockscale("compare", input, input)).out).toMatch(/2 tensors: nothing was lost\.\n$/);
});

test("with --json errors are JSON too", async () => {
  const { code, out, err } = await blockscale("inspect", join(folder, "nothing.safetensors"), "--json");
  expect(code).toBe(1);
  const { error } = JSON.parse(out);
  expect(Object.keys(error)).toEqual(["code", "message", "where", "expected", "got", "fix"]);
  expect(err).toContain(error.message);
});

test("OUT is named for what it becomes", async () => {
  for (const name of ["out.bin", "out", "-", "x.safetensors/"]) {
    const { code, err } = await blockscale("quantize", input, join(folder, name));
    expect([code, err], name).toEqual([2, expect.stringMatching(/ends in \.safetensors/)]);
  }
  const model = new URL("../evaluate/models/qwen3", import.meta.url).pathname;
  const other = await blockscale("quantize", model, join(folder, "x.safetensors"));
  expect([other.code, other.err]).toEqual([2, expect.stringMatching(/a folder, since IN is one/)]);
});

test("a dry run has totals", async () => {
  const { out } = await blockscale("quantize", input, join(folder, "dry.safetensors"), "--dry-run");
  expect(out).toMatch(/Together [\d,]+ bytes; 1 of 2 tensors would be converted\./);
});

test("overrides of every wrong form are one clear error", async () => {
  const { checkpoint } = await openCheckpoint(
    new Map([["model.safetensors", new Blob([readFileSync(input)])]]),
  );
  const forms = [
    "{}",
    "[1]",
    "[null]",
    '["a"]',
    '[{"pattern":"*","scheme":["keep"]}]',
    '[{"pattern":"*","scheme":{"zeroScale":300}}]',
    '[{"pattern":1,"scheme":"keep"}]',
    '[{"pattern":"*"}]',
    '[{"pattern":"*","scheme":{}}]',
    '[{"pattern":"*","scheme":{"block":[1,1]}}]',
    '[{"pattern":"re:(","scheme":"keep"}]',
    "nonsense",
    "",
    '[{"pattern":"nothing*","scheme":"keep"}]',
  ];
  for (const text of forms) {
    const plan = () => planQuantize(checkpoint, { overrides: parseOverrides("overrides.json", text) });
    const message = expect.not.stringMatching(/schemes\./);
    expect(plan, text).toThrow(expect.objectContaining({ name: "BlockscaleError", code: "option", message }));
  }
  const file = join(folder, "overrides.json");
  for (const text of ["[null]", "nonsense"]) {
    writeFileSync(file, text);
    const args = ["quantize", input, join(folder, "o.safetensors"), "--overrides", file];
    const { code, err } = await blockscale(...args);
    expect([code, err], text).toEqual([2, expect.not.stringMatching(/failure of this program|schemes\./)]);
  }
});

test("options that are misspelt are refused in code", async () => {
  const { checkpoint } = await openCheckpoint(
    new Map([["model.safetensors", new Blob([readFileSync(input)])]]),
  );
  expect(() => planQuantize(checkpoint, { too: "mxfp8" } as never)).toThrow(/planQuantize: options.*got too/);
  expect(() => planQuantize(checkpoint, { to: "fp3" } as never)).toThrow(/^to: /);
  expect(() => planDequantize(checkpoint, { type: "bf16" } as never)).toThrow(/got type/);
  await expect(openModel(filesOf("qwen3"), { thread: 2 } as never)).rejects.toThrow(/got thread/);
  await expect(createTrainer({ config: {}, seed: 1 }, { lr: 1 } as never)).rejects.toThrow(/got lr/);
  const model = await openModel(filesOf("qwen3"));
  await expect(model.embed([[1]], { pool: "mean" } as never)).rejects.toThrow(/got pool/);
  await expect(model.generate([1], { max_tokens: 1 } as never).next()).rejects.toThrow(/got max_tokens/);
  await model.close();
});

test("openCheckpoint says what it takes", async () => {
  const blob = new Blob([readFileSync(input)]);
  const wrong: [unknown, RegExp][] = [
    [{ "model.safetensors": blob }, /got object/],
    [blob, /a Map of sources/],
    ["model/", /got string/],
    [readFileSync(input), /got Uint8Array/],
    [null, /got null/],
    [new Map([["model.safetensors", readFileSync(input)]]), /entry "model\.safetensors" of Uint8Array/],
    [new Map([["model.safetensors", "path"]]), /of string/],
    [new Map([[1, blob]]), /named by number/],
  ];
  for (const [given, message] of wrong) {
    await expect(openCheckpoint(given as never)).rejects.toThrow(message);
    await expect(openModel(given as never)).rejects.toThrow(/expected a Map of sources/);
  }
});

test("the summary tells how many tensors each pattern fits", async () => {
  const options = ["--exclude", "*.weight", "--include", "re:up_", "--dry-run"];
  const { out } = await blockscale("quantize", input, join(folder, "o.safetensors"), ...options);
  expect(out).toMatch(/--include re:up_: 1 of the tensors\n--exclude \*\.weight: 2 of the tensors/);
  const json = await blockscale("quantize", input, join(folder, "o.safetensors"), ...options, "--json");
  expect(JSON.parse(json.out).patterns).toEqual([
    { option: "include", pattern: "re:up_", tensors: 1 },
    { option: "exclude", pattern: "*.weight", tensors: 2 },
  ]);
});

test("wrong arguments are JSON too where that is asked for", async () => {
  for (const args of [
    ["quantize"],
    ["quantize", input, "o", "--frob"],
    ["compare", input, input, "--threads", "x"],
    ["quantize", folder, "o", "--part", "1/2", "--files", "*"],
  ]) {
    const { code, out, err } = await blockscale(...args, "--json");
    expect([code, JSON.parse(out).error.code, err]).toEqual([2, "option", expect.stringMatching(/^error: /)]);
  }
});

test("files beside the model are named by inspect, and PyTorch's by the error", async () => {
  const model = join(folder, "beside");
  mkdirSync(model);
  writeFileSync(join(model, "config.json"), "{}");
  writeFileSync(join(model, "pytorch_model.bin"), "");
  expect((await blockscale("inspect", model)).err).toMatch(/PyTorch's own files are not read/);
  for (const name of ["model", "adapter_model"])
    writeFileSync(join(model, `${name}.safetensors`), readFileSync(input));
  expect((await blockscale("inspect", model)).out).toMatch(/Not read, no part of the model: adapter_model/);
  expect(JSON.parse((await blockscale("inspect", model, "--json")).out).unread).toEqual([
    "adapter_model.safetensors",
  ]);
  for (const args of [["inspect"], ["quantize", join(folder, "chosen"), "--dry-run"]]) {
    const chosen = [args[0]!, model, ...args.slice(1), "--files", "model.safetensors"];
    const { out } = await blockscale(...chosen);
    expect(out).toMatch(/^Left out, not chosen by --files: adapter_model.safetensors$/m);
    expect(out).not.toMatch(/second copy/);
    expect(JSON.parse((await blockscale(...chosen, "--json")).out)).toMatchObject({
      leftOut: ["adapter_model.safetensors"],
      unread: [],
    });
  }
});

test("train names the flags of ranks that are not there", async () => {
  const flags = { gradients: "f32", timeout: 1, batch: 8, microBatches: 1, worldSize: 2 } as const;
  const { signal } = new AbortController();
  await expect(TrainingRank.open(flags, signal)).rejects.toThrow(/together, got no --queue, no --rank\./);
  const third = { ...flags, queue: "redis://127.0.0.1:1", rank: 2 };
  await expect(TrainingRank.open(third, signal)).rejects.toThrow(
    /--rank from 0 to N - 1 .* got --rank 2 of 2\./,
  );
});

test("train names the file whose JSON is damaged, and leaves no report", async () => {
  const text = join(folder, "text.txt");
  writeFileSync(text, "in the beginning ".repeat(100));
  const config = join(folder, "config.json");
  const out = join(folder, "trained");
  const options = ["--config", config, "--context", "32"];
  for (const [wrong, message] of [
    ['{ "hidden_size": ', `${config}: expected JSON, got `],
    ["null", `${config}: expected the object of a config.json, got null.`],
    ["[1]", `${config}: expected the object of a config.json, got a plain array.`],
  ] as const) {
    writeFileSync(config, wrong);
    const { code, err } = await blockscale("train", text, out, ...options);
    expect([code, err]).toEqual([1, expect.stringContaining(message)]);
  }
  const reports = join(folder, "reports");
  mkdirSync(reports);
  for (const log of ["{", "[]", '{"settings": {}}']) {
    mkdirSync(join(out, "checkpoint-3"), { recursive: true });
    writeFileSync(join(out, "checkpoint-3", "training.json"), log);
    const report = join(reports, "run.html");
    const { code, err } = await blockscale("train", text, out, "--context", "32", "--report", report);
    const wanted = "checkpoint-3/training.json: expected the log of the run to continue, got";
    expect([code, err]).toEqual([1, expect.stringContaining(wanted)]);
    expect(readdirSync(reports)).toEqual([]);
  }
});
