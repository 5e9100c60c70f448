import { beforeAll, describe, expect, test } from "vitest";
import { type ConvertProgress, convertCheckpoint } from "../../src/checkpoint/convert.ts";
import { compareCheckpoints } from "../../src/checkpoint/measure/compare.ts";
import { documentsOf, openCheckpoint } from "../../src/checkpoint/plan/folder.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { load } from "../../src/load.ts";
import { fileWith, run, type Stored, tensor, valuesAs } from "../support/checkpoint-files.ts";
import { randomNormal, randomWords } from "../support/random.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await load();
});

const up = "model.layers.0.mlp.up_proj.weight";
const norm = tensor("model.norm.weight", "BF16", [64], Uint16Array.from(randomWords(1, 64)));
const index = JSON.stringify({
  metadata: {},
  weight_map: { [up]: "a.safetensors", [norm.name]: "b.safetensors" },
});
const licence = new Blob(["Do as you like.\n"]);

/** Two shards with an index, a config and another file; `weights` lie in the first. */
const folderOf = (weights: readonly Stored[]) =>
  new Map([
    ["LICENSE", licence],
    ["a.safetensors", fileWith(weights)],
    ["b.safetensors", fileWith([norm])],
    ["config.json", new Blob(['{ "model_type": "llama" }'])],
    ["model.safetensors.index.json", new Blob([index])],
  ]);
const input = folderOf([valuesAs(up, "BF16", [192, 64], randomNormal(1, 192 * 64))]);

const bytesOf = async (file: Blob) => new Uint8Array(await file.arrayBuffer());

test("a folder becomes what its plan makes, with config.json and the index as the last ones", async () => {
  const opened = await openCheckpoint(input);
  const plan = planQuantize(opened.checkpoint, { to: "deepseek-v3.1" });
  const want = await run(plan, [...opened.sources] as Blob[], engine);
  const documents = documentsOf(opened, plan, { kind: "quantize", to: "deepseek-v3.1" });
  const {
    files,
    plan: found,
    total,
    warnings,
  } = await convertCheckpoint(input, { engine, to: "deepseek-v3.1" });
  expect(found).toEqual(plan);
  expect([...files.keys()]).toEqual([
    "a.safetensors",
    "b.safetensors",
    "LICENSE",
    "config.json",
    "model.safetensors.index.json",
  ]);
  for (const [i, name] of ["a.safetensors", "b.safetensors"].entries())
    expect(await bytesOf(files.get(name)!)).toEqual(await bytesOf(want.files[i]!));
  for (const { name, text } of documents) expect(await files.get(name)!.text()).toBe(text);
  expect(await files.get("LICENSE")!.text()).toBe(await licence.text());
  expect(total).toMatchObject({ tensors: 2, converted: 1, precision: { values: 192 * 64 } });
  expect(warnings).toMatchObject([expect.stringContaining(`${up} [192, 64] has sides`)]);
});

test("what comes out goes in again, and comes back as the values that the codes stand for", async () => {
  const { files } = await convertCheckpoint(input, { engine, to: "deepseek-v3.1" });
  const back = await convertCheckpoint(files, { engine, dtype: "bf16" });
  expect(back.total).toMatchObject({ converted: 1, precision: { sqnrDb: null } });
  const [fp8, plain] = [await openCheckpoint(files), await openCheckpoint(back.files)];
  const [weight] = await compareCheckpoints(fp8, plain, engine);
  expect(weight).toMatchObject({
    name: up,
    status: "compared",
    precision: { sqnrDb: null, values: 192 * 64 },
  });
  expect(await back.files.get("config.json")!.text()).not.toContain("quantization_config");
});

test("each file goes into a sink of its own, with its size told beforehand and progress up to the end", async () => {
  const written = new Map<string, Uint8Array[]>();
  const sizes = new Map<string, number>();
  const progress: ConvertProgress[] = [];
  const { files } = await convertCheckpoint(input, {
    engine,
    to: "deepseek-v3.1",
    onProgress: (now) => progress.push(now),
    write: async (name, size) => {
      sizes.set(name, size);
      const chunks: Uint8Array[] = [];
      return new WritableStream({
        write: (chunk) => void chunks.push(chunk),
        close: () => void written.set(name, chunks),
      });
    },
  });
  expect(files.size).toBe(0);
  const inMemory = await convertCheckpoint(input, { engine, to: "deepseek-v3.1" });
  expect([...written.keys()]).toEqual([...inMemory.files.keys()]);
  for (const [name, chunks] of written) {
    const whole = await bytesOf(new Blob(chunks as BlobPart[]));
    expect(whole, name).toEqual(await bytesOf(inMemory.files.get(name)!));
    expect(sizes.get(name)).toBe(whole.length);
  }
  const size = [...sizes.values()].reduce((a, b) => a + b);
  expect(progress.map((now) => now.bytes)).toEqual(progress.map((now) => now.bytes).sort((a, b) => a - b));
  expect(progress[0]).toMatchObject({ file: "a.safetensors", tensor: up, size });
  expect(progress.at(-1)).toMatchObject({ file: "model.safetensors.index.json", bytes: size, size });
});

test("options reach the plan: which files, which weights, which schemes", async () => {
  const two = new Map([
    ["x.safetensors", input.get("a.safetensors")!],
    ["y.safetensors", input.get("b.safetensors")!],
  ]);
  const { leftOut, files, total } = await convertCheckpoint(two, {
    engine,
    to: "mxfp8",
    files: ["x.safetensors"],
    exclude: ["*up_proj*"],
  });
  expect(leftOut).toEqual(["y.safetensors"]);
  expect([...files.keys()]).toEqual(["x.safetensors"]);
  expect(total.converted).toBe(0);
});

describe("what goes wrong", () => {
  const aborted: unknown[] = [];
  const write = () => new WritableStream<Uint8Array>({ abort: (reason) => void aborted.push(reason) });

  test("an aborted signal ends it with its reason, and so does the sink that is open", async () => {
    const control = new AbortController();
    const reason = new Error("enough");
    const onProgress = () => control.abort(reason);
    aborted.length = 0;
    const run = convertCheckpoint(input, { engine, to: "mxfp8", signal: control.signal, onProgress, write });
    await expect(run).rejects.toBe(reason);
    expect(aborted).toEqual([reason]);
  });

  test("a sink that fails fails the conversion", async () => {
    const full = new Error("full");
    const run = convertCheckpoint(input, {
      engine,
      to: "mxfp8",
      write: () => new WritableStream({ write: () => Promise.reject(full) }),
    });
    await expect(run).rejects.toBe(full);
  });

  test("a source that changed meanwhile aborts the file made of it", async () => {
    const blob = input.get("a.safetensors")!;
    const changed = new Error("changed");
    const source = {
      size: blob.size,
      slice: (start: number, end: number) => blob.slice(start, end),
      checkUnchanged: () => Promise.reject(changed),
    };
    aborted.length = 0;
    const run = convertCheckpoint(new Map([["a.safetensors", source]]), { engine, to: "mxfp8", write });
    await expect(run).rejects.toBe(changed);
    expect(aborted).toEqual([changed]);
  });

  test("values that cannot be quantised name the tensor", async () => {
    const values = randomNormal(1, 192 * 64);
    values[70] = Number.NaN;
    const damaged = folderOf([valuesAs(up, "BF16", [192, 64], values)]);
    const run = convertCheckpoint(damaged, { engine, to: "mxfp8" });
    await expect(run).rejects.toMatchObject({ code: "dialect", fault: { tensor: up } });
  });

  test.each([
    [{ to: "mxfp8" }, "engine: expected an engine, got undefined"],
    [{ engine: "relaxed", to: "mxfp8" }, "expected an engine, got string"],
    [{ engine: true }, "expected an engine, got boolean"],
    [undefined, "got undefined"],
  ])("options %o: %s", async (options, message) => {
    await expect(convertCheckpoint(input, options as never)).rejects.toThrow(message);
  });

  test.each([
    [{}, "expected either to or dtype, got neither"],
    [{ to: "mxfp8", dtype: "bf16" }, "expected either to or dtype, got both"],
    [{ to: "mxfp9" }, "mxfp9"],
    [{ dtype: "bf17" }, "bf17"],
    [{ to: "mxfp8", ot: 1 }, "got ot"],
    [{ dtype: "bf16", overrides: [] }, "got overrides"],
  ])("options %o: %s", async (options, message) => {
    await expect(convertCheckpoint(input, { engine, ...options } as never)).rejects.toThrow(message);
  });
});
