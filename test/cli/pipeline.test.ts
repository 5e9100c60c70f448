import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { valuesAs } from "../support/checkpoint-files.ts";
import { blockscale, snapshot, temporaryFolder, writeFileWith } from "../support/cli-runner.ts";
import { randomNormal } from "../support/random.ts";

// A pipeline of diffusers: model_index.json, and models in folders of their own.

const folder = temporaryFolder();
const input = join(folder, "in");
const linear = (name: string) => valuesAs(name, "BF16", [128, 128], randomNormal(1, 128 * 128));
const put = (name: string, text: string) => {
  mkdirSync(join(input, name, ".."), { recursive: true });
  writeFileSync(join(input, name), text);
};

beforeAll(async () => {
  const index = {
    _class_name: "FluxPipeline",
    scheduler: ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    text_encoder: ["transformers", "T5EncoderModel"],
    tokenizer: ["transformers", "T5Tokenizer"],
    transformer: ["diffusers", "FluxTransformer2DModel"],
    vae: ["diffusers", "AutoencoderKL"],
  };
  put("model_index.json", JSON.stringify(index));
  put("scheduler/scheduler_config.json", "{}");
  put("tokenizer/tokenizer.json", "{}");
  put("transformer/config.json", '{"_class_name":"FluxTransformer2DModel"}');
  put("text_encoder/config.json", '{"model_type":"t5"}');
  put("vae/config.json", "{}");
  const shards = [
    "diffusion_pytorch_model-00001-of-00002.safetensors",
    "diffusion_pytorch_model-00002-of-00002.safetensors",
  ];
  const weightMap: { [name: string]: string } = {};
  for (const [i, shard] of shards.entries()) {
    weightMap[`transformer_blocks.${i}.attn.to_q.weight`] = shard;
    await writeFileWith(join(input, "transformer", shard), [
      linear(`transformer_blocks.${i}.attn.to_q.weight`),
    ]);
  }
  put(
    "transformer/diffusion_pytorch_model.safetensors.index.json",
    JSON.stringify({ weight_map: weightMap }),
  );
  await writeFileWith(join(input, "text_encoder/model.safetensors"), [
    linear("encoder.block.0.layer.0.SelfAttention.q.weight"),
  ]);
  await writeFileWith(join(input, "vae/diffusion_pytorch_model.safetensors"), [
    linear("decoder.mid_block.attentions.0.to_q.weight"),
  ]);
  // A second copy of the same weights.
  await writeFileWith(join(input, "vae/diffusion_pytorch_model.fp16.safetensors"), [
    linear("decoder.mid_block.attentions.0.to_q.weight"),
  ]);
});

test("is converted model by model, and an autoencoder stays", async () => {
  const out = join(folder, "fp8");
  const { code, out: text, err } = await blockscale("quantize", input, out);
  expect({ code, err }).toEqual({ code: 0, err: "" });
  expect(text).toMatch(/## text_encoder[\s\S]*## transformer[\s\S]*vae stays as it is: an autoencoder/);
  const [before, after] = [snapshot(input), snapshot(out)];
  expect([...after.keys()]).toEqual([...before.keys()]);
  for (const name of [
    "model_index.json",
    "tokenizer/tokenizer.json",
    "vae/diffusion_pytorch_model.safetensors",
  ])
    expect(after.get(name)!.equals(before.get(name)!), name).toBe(true);
  for (const component of ["transformer", "text_encoder"]) {
    const config = JSON.parse(readFileSync(join(out, component, "config.json"), "utf8"));
    expect(config.quantization_config.quant_method).toBe("fp8");
  }
  const again = await blockscale("quantize", input, out, "--json");
  const { components, kept } = JSON.parse(again.out);
  expect(kept).toEqual(["vae"]);
  expect(components.transformer).toMatchObject({ alreadyDone: true });
});

test("goes back to plain values, the autoencoder included, and is inspected", async () => {
  const [fp8, plain] = [join(folder, "fp8-2"), join(folder, "plain")];
  expect(await blockscale("quantize", input, fp8, "--to", "mxfp8")).toMatchObject({ code: 0 });
  const { out } = await blockscale("inspect", fp8, "--json");
  expect(Object.keys(JSON.parse(out).components)).toEqual(["text_encoder", "transformer", "vae"]);
  expect(JSON.parse(out).components.transformer.dialect).toBe("mxfp8");
  expect(await blockscale("dequantize", fp8, plain)).toMatchObject({ code: 0, err: "" });
  const { components } = JSON.parse((await blockscale("inspect", plain, "--json")).out);
  for (const { dialect } of Object.values(components) as { dialect: string }[]) expect(dialect).toBe("none");
});

test("patterns count in the models where they fit, and must fit in one of them", async () => {
  const overrides = join(folder, "overrides.json");
  writeFileSync(overrides, JSON.stringify([{ pattern: "encoder.*", scheme: "keep" }]));
  const options = ["--exclude", "*.0.attn.to_q.weight", "--overrides", overrides, "--files", "model*"];
  const out = join(folder, "chosen");
  const { code, out: text, err } = await blockscale("quantize", input, out, ...options, "--json");
  expect({ code, err }).toEqual({ code: 0, err: "" });
  const { transformer, text_encoder: encoder } = JSON.parse(text).components;
  const reasons = ({ tensors }: { tensors: { name: string; reason: string | null }[] }) =>
    Object.fromEntries(tensors.map(({ name, reason }) => [name, reason]));
  expect(reasons(transformer)).toEqual({
    "transformer_blocks.0.attn.to_q.weight": "excluded",
    "transformer_blocks.1.attn.to_q.weight": null,
  });
  expect(Object.values(reasons(encoder))).toEqual(["kept by an override"]);
  for (const [option, pattern] of [
    ["--also", "nothing*"],
    ["--only", "nothing*"],
    ["--exclude", "decoder.*"],
    ["--files", "x*"],
  ] as const)
    expect(await blockscale("quantize", input, join(folder, "no"), option, pattern)).toMatchObject({
      code: 2,
      err: expect.stringContaining(`"${pattern}": expected a pattern that fits`),
    });
  const alone = join(folder, "alone");
  const some = await blockscale("quantize", input, alone, "--only", "transformer_blocks.1.*");
  expect(some).toMatchObject({
    code: 0,
    out: expect.stringContaining("text_encoder stays as it is: nothing"),
  });
  expect(snapshot(alone).get("text_encoder/config.json")).toEqual(
    snapshot(input).get("text_encoder/config.json"),
  );
  writeFileSync(overrides, "[null]");
  expect(await blockscale("quantize", input, join(folder, "no"), "--overrides", overrides)).toMatchObject({
    code: 2,
    err: expect.stringContaining("overrides[0]"),
  });
});

test("is compared model by model, with one verdict", async () => {
  const made = join(folder, "compared");
  expect(await blockscale("quantize", input, made)).toMatchObject({ code: 0 });
  const { code, out } = await blockscale("compare", input, made, "--json");
  expect(code).toBe(0);
  const { tensors, total } = JSON.parse(out);
  expect(total).toMatchObject({ compared: 4 });
  const sqnr = (found: { name: string; precision: { sqnrDb: number | null } }[]) =>
    Object.fromEntries(found.map(({ name, precision }) => [name, precision.sqnrDb]));
  expect(sqnr(tensors)).toEqual({
    "text_encoder/encoder.block.0.layer.0.SelfAttention.q.weight": expect.any(Number),
    "transformer/transformer_blocks.0.attn.to_q.weight": expect.any(Number),
    "transformer/transformer_blocks.1.attn.to_q.weight": expect.any(Number),
    "vae/decoder.mid_block.attentions.0.to_q.weight": null,
  });
  expect(await blockscale("compare", input, made, "--min-sqnr", "60")).toMatchObject({
    code: 1,
    out: expect.stringContaining("4 tensors, 1 of them without loss"),
    err: expect.stringContaining("3 tensors below it"),
  });
  rmSync(join(made, "vae"), { recursive: true });
  expect(await blockscale("compare", input, made)).toMatchObject({
    code: 1,
    err: expect.stringContaining('1 only in A; first of all in tensor "vae/decoder'),
  });
});

/** The data that the script of a page draws, and its text. */
function pageAt(path: string) {
  const text = readFileSync(path, "utf8");
  return { text, charts: JSON.parse(/id="charts">(.*?)<\/script>/s.exec(text)![1]!) };
}

test("has one report of all its models: converted, compared and inspected", async () => {
  const [made, page] = [join(folder, "reported"), join(folder, "page.html")];
  const report = ["--report", page];
  expect(await blockscale("quantize", input, made, ...report)).toMatchObject({ code: 0, err: "" });
  const names = [
    "text_encoder/encoder.block.0.layer.0.SelfAttention.q.weight",
    "transformer/transformer_blocks.0.attn.to_q.weight",
    "transformer/transformer_blocks.1.attn.to_q.weight",
  ];
  const kept = "vae/decoder.mid_block.attentions.0.to_q.weight";
  const converted = pageAt(page);
  expect(converted.charts.points.names).toEqual(names);
  expect(converted.text).toContain("transformer/diffusion_pytorch_model-00002-of-00002.safetensors");
  // All values of all three were looked at again, and all scales.
  expect(converted.text).toContain("49,152");
  expect(converted.charts.exponents.counts.reduce((a: number, b: number) => a + b, 0)).toBe(3);
  expect(await blockscale("compare", input, made, ...report)).toMatchObject({ code: 0, err: "" });
  const compared = pageAt(page);
  expect(compared.charts.points.names).toEqual(names);
  expect(compared.text).toContain(kept);
  expect(await blockscale("inspect", made, ...report)).toMatchObject({ code: 0, err: "" });
  const inspected = pageAt(page).text;
  for (const name of [...names, kept]) expect(inspected).toContain(name);
  expect(inspected).toContain("deepseek-v3.1, none");
  // Nothing of a page stays where the work is refused.
  const none = join(folder, "none.html");
  const refused = await blockscale(
    "quantize",
    input,
    join(folder, "no"),
    "--only",
    "nothing*",
    "--report",
    none,
  );
  expect(refused).toMatchObject({ code: 2 });
  expect(existsSync(none)).toBe(false);
});

test("--only means no other weights in a model where only --also fits", async () => {
  const [q, shared] = ["encoder.block.0.layer.0.SelfAttention.q.weight", "shared.weight"];
  const from = join(folder, "shared");
  cpSync(input, from, { recursive: true });
  await writeFileWith(join(from, "text_encoder/model.safetensors"), [linear(q), linear(shared)]);
  const options = ["--only", "transformer_blocks.1.*", "--also", "shared.*", "--dry-run", "--json"];
  const { out } = await blockscale("quantize", from, join(folder, "no"), ...options);
  const { tensors } = JSON.parse(out).components.text_encoder;
  expect(tensors).toMatchObject([
    { name: q, reason: "not chosen" },
    { name: shared, reason: null },
  ]);
});

test("what can only be asked of one model is refused, and so is a folder of something else", async () => {
  expect(await blockscale("inspect", input, "--files", "model*")).toMatchObject({
    code: 2,
    err: expect.stringContaining("a pipeline of several"),
  });
  const other = join(folder, "other");
  mkdirSync(other);
  writeFileSync(join(other, "notes.txt"), "");
  expect(await blockscale("quantize", input, other)).toMatchObject({
    code: 2,
    err: expect.stringContaining("a folder that holds notes.txt"),
  });
  for (const args of [
    ["quantize", input, join(folder, "no"), "--part", "1/2"],
    ["compare", input, join(input, "transformer")],
  ])
    expect(await blockscale(...args)).toMatchObject({
      code: 1,
      err: expect.stringContaining("give the folder of one of them"),
    });
  expect(await blockscale("quantize", input, join(folder, "dry"), "--dry-run")).toMatchObject({
    code: 0,
    err: "",
  });
});
