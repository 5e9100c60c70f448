import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { tensorsOf } from "./checkpoint-files.ts";
import { blockscale, layer, snapshot, start, temporaryFolder, writeFileWith } from "./cli-runner.ts";

const folder = temporaryFolder();
let made = 0;

const CONFIG = `{
  "architectures": ["LlamaForCausalLM"],
  "rope_theta": 10000.0,
  "attention_dropout": 0.0,
  "torch_dtype": "bfloat16"
}
`;

/** A checkpoint folder with some shards, an index, and files that are none of our business. */
async function makeModel(shards = 3, size = 96): Promise<string> {
  const model = join(folder, `model-${made++}`);
  const weightMap: { [name: string]: string } = {};
  mkdirSync(join(model, "sub"), { recursive: true });
  for (let i = 0; i < shards; i++) {
    const name = `model-0000${i + 1}-of-0000${shards}.safetensors`;
    await writeFileWith(join(model, name), layer(i, size));
    for (const tensor of layer(i, size)) weightMap[tensor.name] = name;
  }
  writeFileSync(join(model, "config.json"), CONFIG);
  const index = { metadata: { total_size: 1, note: "x" }, weight_map: weightMap };
  writeFileSync(join(model, "model.safetensors.index.json"), JSON.stringify(index));
  writeFileSync(join(model, "tokenizer.json"), '{"a": 1.0}');
  writeFileSync(join(model, "sub/empty.txt"), "");
  writeFileSync(join(model, ".hidden"), "not for copies");
  return model;
}

/** A module that collects garbage all the time: what is left open is then told on standard error. */
const COLLECTING = "data:text/javascript,setInterval(() => globalThis.gc(), 1).unref()";

const output = () => join(folder, `out-${made++}`);
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
  test("links that lead out of the folder; those of the hub's cache are followed", async () => {
    const model = await makeModel();
    symlinkSync("/etc/passwd", join(model, "passwd.txt"));
    await refuses(model, /symbolic link/);
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

test("two runs of one command into one folder leave it whole, and neither stumbles over the other", async () => {
  const model = await makeModel(2, 64);
  const whole = output();
  await blockscale("quantize", model, whole);
  for (let i = 0; i < 4; i++) {
    const out = output();
    for (const { code, err } of await Promise.all([0, 1].map(() => blockscale("quantize", model, out)))) {
      expect({ code, err }).toEqual({ code: 0, err: "" });
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

describe("a run that is cut off", () => {
  /** Waits until a file of so many bytes, whole or not, has appeared in a folder. */
  async function untilWritten(
    out: string,
    isThere: (names: string[]) => boolean,
    child: { exitCode: number | null },
  ) {
    while (child.exitCode === null && !(existsSync(out) && isThere(readdirSync(out)))) {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
  const isFinal = (name: string) => name.endsWith(".safetensors") && !name.startsWith(".");

  test("leaves only whole files, and goes on where it stopped with the same bytes", async () => {
    const model = await makeModel(5, 400);
    const [whole, out] = [output(), output()];
    expect(await blockscale("quantize", model, whole)).toMatchObject({ code: 0 });
    const want = snapshot(whole);
    let kills = 0;
    for (let round = 1; round <= 4; round++) {
      const { child, ended } = start(["quantize", model, out, "--jobs", "1"]);
      // Once a partial file is there besides so many whole ones: in the middle of the next.
      const isMiddle = (names: string[]) =>
        names.filter(isFinal).length >= round &&
        names.some((name) => name.includes(".safetensors.") && name.endsWith(".part"));
      await untilWritten(out, isMiddle, child);
      if (child.kill("SIGKILL")) kills++;
      await ended;
      for (const [name, bytes] of snapshot(out)) {
        if (isFinal(name)) expect(bytes.equals(want.get(name)!), name).toBe(true);
      }
    }
    expect(kills).toBeGreaterThanOrEqual(2);
    const finished = [...snapshot(out).keys()].filter(isFinal);
    expect(finished.length).toBeGreaterThan(0);
    // What is whole is not made again: a time set by hand stays.
    for (const name of finished) utimesSync(join(out, name), 1, 1);
    const { code, out: text } = await blockscale("quantize", model, out, "--json");
    expect(code).toBe(0);
    for (const name of finished) expect(statSync(join(out, name)).mtimeMs).toBe(1000);
    expect(snapshot(out)).toEqual(want);
    // Once finished, the same command may be given again all the same.
    expect(await blockscale("quantize", model, out)).toMatchObject({ code: 0 });
    expect(snapshot(out)).toEqual(want);
    expect(
      JSON.parse(text).tensors.every(
        (row: { action: string; precision: unknown }) =>
          (row.action === "quantize") === (row.precision !== null),
      ),
    ).toBe(true);
  });

  test("is not taken up by another command, or for an input that changed", async () => {
    const model = await makeModel(3, 300);
    const out = output();
    const { child, ended } = start(["quantize", model, out, "--jobs", "1"]);
    await untilWritten(out, (names) => names.some(isFinal), child);
    child.kill("SIGKILL");
    await ended;
    const other = await blockscale("quantize", model, out, "--to", "mxfp8");
    expect(other).toMatchObject({ code: 2, err: expect.stringContaining("another command") });
    utimesSync(join(model, "tokenizer.json"), 5, 5);
    expect(await blockscale("quantize", model, out)).toMatchObject({ code: 2 });
    expect(await blockscale("quantize", model, out, "--overwrite")).toMatchObject({ code: 0 });
  });

  test("by Ctrl-C ends with 1, one message, and nothing half-written", async () => {
    const model = await makeModel(3, 700);
    const out = output();
    const { child, ended } = start(["quantize", model, out]);
    await untilWritten(
      out,
      (names) => names.some((name) => name.includes(".safetensors.") && name.endsWith(".part")),
      child,
    );
    child.kill("SIGINT");
    const { code, err } = await ended;
    expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/^blockscale: .*SIGINT.*\n$/) });
    expect([...snapshot(out).keys()].filter((name) => name.endsWith(".part"))).toEqual([]);
    expect(await blockscale("quantize", model, out)).toMatchObject({ code: 0 });
  });
});
