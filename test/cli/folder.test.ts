import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/plan/folder.ts";
import { openFolder } from "../../src/io/node-folder.ts";
import { tensorsOf } from "../support/checkpoint-files.ts";
import { blockscale, CONFIG, layer, snapshot, workplace, writeFileWith } from "../support/cli-runner.ts";

const { folder, makeModel, output } = workplace();

const json = (path: string) => JSON.parse(readFileSync(path, "utf8"));

describe("a folder becomes a folder", () => {
  test("with shards, config, a true index and everything else", async () => {
    const model = await makeModel();
    const before = snapshot(model);
    const out = output();
    const { code, err, out: text } = await blockscale("quantize", model, out, "--json");
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(snapshot(model)).toEqual(before);
    const files = snapshot(out);
    expect([...files.keys()]).toEqual([...before.keys()].filter((name) => name !== ".hidden"));
    expect(files.get("tokenizer.json")).toEqual(before.get("tokenizer.json"));
    expect(JSON.parse(text).total).toMatchObject({ tensors: 12, converted: 6 });

    const index = json(join(out, "model.safetensors.index.json"));
    let total = 0;
    for (const [name, bytes] of files) {
      if (!name.endsWith(".safetensors")) continue;
      for (const tensor of (await tensorsOf(new Blob([bytes as BlobPart]))).values()) {
        expect(index.weight_map[tensor.name]).toBe(name);
        delete index.weight_map[tensor.name];
        total += tensor.bytes.length;
      }
    }
    expect(index).toEqual({ metadata: { total_size: total, note: "x" }, weight_map: {} });

    const config = readFileSync(join(out, "config.json"), "utf8");
    expect(config).toContain('"rope_theta": 10000.0,\n  "attention_dropout": 0.0,');
    expect(JSON.parse(config).quantization_config).toEqual({
      activation_scheme: "dynamic",
      fmt: "e4m3",
      quant_method: "fp8",
      scale_fmt: "ue8m0",
      weight_block_size: [128, 128],
      modules_to_not_convert: [0, 1, 2].map((i) => `model.layers.${i}.mlp.gate`),
    });
  });

  test("and back, where config.json is what it was, and the values are those of FP8", async () => {
    const model = await makeModel();
    const [fp8, back] = [output(), output()];
    for (const dialect of ["modelopt", "compressed-tensors"]) {
      expect(await blockscale("quantize", model, fp8, "--to", dialect, "--overwrite")).toMatchObject({
        code: 0,
      });
      expect(existsSync(join(fp8, "hf_quant_config.json"))).toBe(dialect === "modelopt");
      const inspected = JSON.parse((await blockscale("inspect", fp8, "--json")).out);
      expect(inspected.dialect).toBe(dialect);
      expect(await blockscale("dequantize", fp8, back, "--overwrite")).toMatchObject({ code: 0 });
      expect(readFileSync(join(back, "config.json"), "utf8")).toBe(CONFIG);
      expect(existsSync(join(back, "hf_quant_config.json"))).toBe(false);
      if (dialect === "modelopt") {
        rmSync(join(fp8, "hf_quant_config.json"));
      }
    }
  });

  test("a nested quantization_config is replaced where it is", async () => {
    const model = await makeModel(1);
    const config = {
      model_type: "x",
      text_config: { a: 1, quantization_config: { quant_method: "fp8" }, b: 2 },
    };
    writeFileSync(join(model, "config.json"), JSON.stringify(config));
    const [fp8, back] = [output(), output()];
    await blockscale("quantize", model, fp8, "--to", "mxfp8");
    const { quant_method, ignored_layers } = json(join(fp8, "config.json")).text_config.quantization_config;
    expect({ quant_method, ignored_layers }).toEqual({
      quant_method: "mxfp8",
      ignored_layers: ["model.layers.0.mlp.gate"],
    });
    expect(json(join(fp8, "config.json")).quantization_config).toBe(undefined);
    await blockscale("dequantize", fp8, back);
    expect(json(join(back, "config.json"))).toEqual({ model_type: "x", text_config: { a: 1, b: 2 } });
  });

  test("the type asked for is told in config.json", async () => {
    const model = await makeModel(1);
    const [fp8, back] = [output(), output()];
    await blockscale("quantize", model, fp8);
    await blockscale("dequantize", fp8, back, "--dtype", "f16");
    expect(json(join(back, "config.json")).torch_dtype).toBe("float16");
  });
});

describe("refused, with nothing written", () => {
  const refuses = async (model: string, message: RegExp) => {
    const out = output();
    expect(await blockscale("quantize", model, out)).toEqual({
      code: 1,
      out: "",
      err: expect.stringMatching(message),
    });
    expect(existsSync(out)).toBe(false);
  };
  const withIndex = async (
    change: (index: { weight_map: { [name: string]: string } }, model: string) => unknown,
  ) => {
    const model = await makeModel();
    const path = join(model, "model.safetensors.index.json");
    const index = json(path);
    await change(index, model);
    writeFileSync(path, JSON.stringify(index));
    return model;
  };
  const gate = "model.layers.0.mlp.gate.weight";

  test("an index that names files that are not there", async () => {
    await refuses(
      await withIndex((index) => {
        index.weight_map.x = "model-9.safetensors";
      }),
      /missing: model-9/,
    );
  });
  test("an index that names tensors that are not there, or elsewhere", async () => {
    await refuses(
      await withIndex((index) => {
        index.weight_map.x = index.weight_map[gate]!;
      }),
      /"x".*no such tensor/,
    );
    await refuses(
      await withIndex((index) => {
        index.weight_map[gate] = "model-00002-of-00003.safetensors";
      }),
      /gate.weight".*model-00001/,
    );
  });
  test("one tensor in two files", async () => {
    const model = await withIndex((_, at) =>
      writeFileWith(join(at, "model-00002-of-00003.safetensors"), [...layer(1, 96), layer(0, 96)[2]!]),
    );
    await refuses(model, /each tensor in one file/);
  });
  test.each([
    "../model.safetensors",
    "sub/../../x.safetensors",
    "/etc/x.safetensors",
    "%2e%2e/x.safetensors",
    "%252e%252e%252fx.safetensors",
    "..\\x.safetensors",
    "C:x.safetensors",
    "x.safetensors\u0000",
    "model.bin",
    "",
  ])("the file name %j in an index", async (name) => {
    const model = await withIndex((index) => {
      index.weight_map[gate] = name;
    });
    await expect(openCheckpoint(await openFolder(model))).rejects.toThrow(/inside the folder/);
    if (name.startsWith("..")) await refuses(model, /inside the folder/);
  });
  test("an index that is no JSON or no index", async () => {
    const model = await makeModel();
    for (const text of ["[]", "{}", '{"weight_map": {"a": 1}}', "{"]) {
      writeFileSync(join(model, "model.safetensors.index.json"), text);
      await expect(openCheckpoint(await openFolder(model))).rejects.toThrow(/model.safetensors.index.json/);
    }
    await refuses(model, /model.safetensors.index.json/);
  });
  test("a link that leads nowhere; those to files are followed, as in the hub's cache", async () => {
    const model = await makeModel();
    const links = join(folder, "links");
    mkdirSync(links);
    rmSync(join(model, "sub"), { recursive: true });
    for (const name of readdirSync(model)) symlinkSync(join(model, name), join(links, name));
    const [direct, linked] = [output(), output()];
    expect(await blockscale("quantize", model, direct)).toMatchObject({ code: 0 });
    expect(await blockscale("quantize", links, linked)).toMatchObject({ code: 0 });
    expect(snapshot(linked)).toEqual(snapshot(direct));
    symlinkSync(join(folder, "nowhere"), join(links, "dangling.json"));
    await refuses(links, /dangling.json/);
    const cache = join(folder, "cache");
    mkdirSync(join(cache, "snapshots/abc"), { recursive: true });
    mkdirSync(join(cache, "blobs"));
    await writeFileWith(join(cache, "blobs/1234"), layer(0, 64));
    symlinkSync("../../blobs/1234", join(cache, "snapshots/abc/model.safetensors"));
    const out = output();
    expect(await blockscale("quantize", join(cache, "snapshots/abc"), out)).toMatchObject({ code: 0 });
    expect(existsSync(join(out, "model.safetensors"))).toBe(true);
  });
});
