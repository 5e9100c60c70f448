import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { tensorsOf } from "../support/checkpoint-files.ts";
import {
  blockscale,
  CONFIG,
  layer,
  snapshot,
  start,
  workplace,
  writeFileWith,
} from "../support/cli-runner.ts";

const { folder, makeModel, output } = workplace();

/** A module that collects garbage all the time: what is left open is then told on standard error. */
const COLLECTING = "data:text/javascript,setInterval(() => globalThis.gc(), 1).unref()";

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
    for (const dialect of ["deepseek-v4", "compressed-tensors", "modelopt", "mxfp8"]) {
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
  const refuses = async (model: string, message: RegExp, code = 1, out = output()) => {
    expect(await blockscale("quantize", model, out)).toEqual({
      code,
      out: "",
      err: expect.stringMatching(message),
    });
    expect(out.startsWith(model) || !existsSync(out)).toBe(true);
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
    await refuses(
      await withIndex((index) => {
        index.weight_map[gate] = name;
      }),
      /inside the folder/,
    );
  });
  test("an index that is no JSON or no index", async () => {
    for (const text of ["{", "[]", "{}", '{"weight_map": {"a": 1}}']) {
      const model = await makeModel();
      writeFileSync(join(model, "model.safetensors.index.json"), text);
      await refuses(model, /model.safetensors.index.json/);
    }
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
  test("an output in, around or at the input", async () => {
    const model = await makeModel();
    await refuses(model, /a folder apart from IN/, 2, join(model, "out"));
    await refuses(model, /a folder apart from IN/, 2, model);
    const around = await blockscale("quantize", model, dirname(model));
    expect(around).toMatchObject({ code: 2 });
    const link = join(folder, "link");
    symlinkSync(model, link);
    expect(await blockscale("quantize", model, join(link, "deeper/out"))).toMatchObject({ code: 2 });
  });
  test("an output that holds something else, until told to", async () => {
    const model = await makeModel(1);
    const out = output();
    mkdirSync(out);
    writeFileSync(join(out, "thesis.txt"), "x");
    const { code, err } = await blockscale("quantize", model, out);
    expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining("--overwrite") });
    expect([...snapshot(out).keys()]).toEqual(["thesis.txt"]);
    expect(await blockscale("quantize", model, out, "--overwrite")).toMatchObject({ code: 0 });
  });
  test("an output whose folders lead elsewhere, back to the input for one", async () => {
    const model = await makeModel(1);
    const out = output();
    const before = snapshot(model);
    mkdirSync(out);
    symlinkSync(join(model, "sub"), join(out, "sub"));
    const { code, err } = await blockscale("quantize", model, out, "--overwrite");
    expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining("empty.txt") });
    expect(snapshot(model)).toEqual(before);
    expect(readdirSync(out)).toEqual(["sub"]);
  });
  test("an output that is a file, or a link that leads nowhere", async () => {
    const model = await makeModel(1);
    const [file, link] = [output(), output()];
    writeFileSync(file, "precious");
    symlinkSync(join(folder, "nowhere"), link);
    for (const out of [file, link]) {
      for (const flags of [[], ["--overwrite"]]) {
        const { code, err } = await blockscale("quantize", model, out, ...flags);
        expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining(`${out}: expected a folder`) });
      }
    }
    expect(readFileSync(file, "utf8")).toBe("precious");
  });
  test("a folder that bears the name of a file to be written", async () => {
    const model = await makeModel(1);
    const out = output();
    mkdirSync(join(out, "tokenizer.json"), { recursive: true });
    const { code, err } = await blockscale("quantize", model, out, "--overwrite");
    expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining("tokenizer.json") });
    expect(readdirSync(out)).toEqual(["tokenizer.json"]);
  });
  test("leftovers in a folder that is refused stay", async () => {
    const model = await makeModel(1);
    const out = output();
    mkdirSync(out);
    for (const name of ["thesis.txt", ".notes.99999999-1.part"]) writeFileSync(join(out, name), "x");
    expect(await blockscale("quantize", model, out)).toMatchObject({ code: 2 });
    expect(readdirSync(out)).toHaveLength(2);
    rmSync(join(out, "thesis.txt"));
    expect(await blockscale("quantize", model, out)).toMatchObject({ code: 0 });
    expect(readdirSync(out).filter((name) => name.endsWith(".part"))).toEqual([]);
  });
});

test("--overwrite leaves nothing of another checkpoint, and everything else", async () => {
  const [old, model] = [await makeModel(3), await makeModel(1)];
  const out = output();
  expect(await blockscale("quantize", old, out, "--to", "modelopt")).toMatchObject({ code: 0 });
  writeFileSync(join(out, "thesis.txt"), "x");
  writeFileSync(join(out, ".hidden.safetensors"), "x");
  symlinkSync(join(old, "model-00001-of-00003.safetensors"), join(out, "link.safetensors"));
  rmSync(join(model, "model.safetensors.index.json"));
  const before = snapshot(old);
  expect(await blockscale("quantize", model, out, "--overwrite")).toMatchObject({ code: 0 });
  expect([...snapshot(out).keys()]).toEqual([
    ".hidden.safetensors",
    "config.json",
    "model-00001-of-00001.safetensors",
    "sub/empty.txt",
    "thesis.txt",
    "tokenizer.json",
  ]);
  expect(snapshot(old)).toEqual(before);
  const { tensors, dialect } = JSON.parse((await blockscale("inspect", out, "--json")).out);
  expect({ n: tensors.length, dialect }).toEqual({ n: 4, dialect: "deepseek-v3.1" });
});

test("a worker that cannot open its shard ends with one message", async () => {
  const model = await makeModel(2);
  const shard = join(model, "model-00002-of-00002.safetensors");
  const removing = `data:text/javascript,${encodeURIComponent(`
    import { rmSync } from "node:fs";
    import { isMainThread } from "node:worker_threads";
    if (!isMainThread) rmSync(${JSON.stringify(shard)}, { force: true });
  `)}`;
  const { code, err } = await start(["quantize", model, output(), "--jobs", "2"], ["--import", removing])
    .ended;
  const message = `blockscale: ${shard}: expected a readable file or folder, got no such file or folder. Check the path.\n`;
  expect({ code, err }).toEqual({ code: 1, err: message });
});

test("two runs of one command into one folder leave it whole, and neither stumbles over the other", async () => {
  const model = await makeModel(2, 64);
  const whole = output();
  await blockscale("quantize", model, whole);
  for (let i = 0; i < 4; i++) {
    const out = output();
    const ends = await Promise.all([0, 1].map(() => blockscale("quantize", model, out)));
    expect(ends.map(({ code }) => code)).toContain(0);
    for (const { code, err } of ends) {
      // One began when the other had ended: that is no longer the same run.
      if (code === 2) {
        expect(err).toMatch(/expected a new or empty folder, .* got \d+ files/);
        continue;
      }
      expect(code).toBe(0);
      // Whoever comes second is told of the other, if that is still writing.
      expect(err).toMatch(
        /^(blockscale: process \d+ is writing into .* too; both make the same files\.\n)?$/,
      );
    }
    expect(snapshot(out)).toEqual(snapshot(whole));
  }
});

test("a finished output that was changed is refused without a word of open files", async () => {
  const model = await makeModel(3, 64);
  const out = output();
  await blockscale("quantize", model, out);
  writeFileSync(join(out, "model-00003-of-00003.safetensors"), "");
  const { code, err } = await start(["quantize", model, out], ["--expose-gc", "--import", COLLECTING]).ended;
  expect(code).toBe(2);
  expect(err).not.toContain("garbage collection");
});
