import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { expect, test } from "vitest";
import { matcher } from "../../src/checkpoint/dialects/rules.ts";
import { parseConfig } from "../../src/checkpoint/plan/config.ts";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { countStrips } from "../../src/checkpoint/plan/plan.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import type { Checkpoint } from "../../src/checkpoint/read/checkpoint.ts";
import { readText } from "../../src/io/source.ts";
import { threadsFor } from "../../src/jobs/threads.ts";
import { checkpointOf, fileWith, type Stored, tensor } from "../support/checkpoint-files.ts";

test("a glob fits what the regular expression of the same meaning fits", () => {
  const letters = (chars: string[]) => fc.string({ unit: fc.constantFrom(...chars), maxLength: 8 });
  fc.assert(
    fc.property(
      letters(["*", "*", "?", "a", "b", "é", "😀", ".", "(", "$"]),
      letters(["a", "b", "é", "😀", ".", "(", "$", "\n"]),
      (glob, name) => {
        const source = glob.replace(/[.($]/g, "\\$&").replaceAll("*", "[^]*").replaceAll("?", "[^]");
        expect(matcher(glob)(name)).toBe(new RegExp(`^${source}$`, "u").test(name));
      },
    ),
    { numRuns: 5000 },
  );
});

test("a glob takes a time in proportion to the name, whatever the name", () => {
  const name = `${".mlp.".repeat(2000)}x`;
  const started = performance.now();
  for (const glob of ["*.mlp.*.experts.*.weight", "*.mlp.*.mlp.*.weight", "*p?x*p?y"]) {
    expect(matcher(glob)(name)).toBe(false);
  }
  expect(matcher("*.mlp.*.mlp.*.mlp.?")(name)).toBe(true);
  expect(performance.now() - started).toBeLessThan(1000);
});

const codes = tensor("a.weight", "F8_E4M3", [256, 256], new Uint8Array(65536));
const scales = (name: string, shape = [2, 2]) =>
  tensor(name, "F32", shape, new Float32Array(shape.reduce((n, size) => n * size, 1)).fill(1));

async function checkpointWith(tensors: readonly Stored[], weightBlockSize?: readonly number[]) {
  const checkpoint = await checkpointOf({ "m.safetensors": fileWith(tensors) });
  const config =
    weightBlockSize === undefined ? null : { quantization_config: { weight_block_size: weightBlockSize } };
  return { ...checkpoint, config };
}

test.each([[[2 ** 53 - 1, 2 ** 53 - 1]], [[128, 2 ** 31]]])(
  "a block of %j is refused before anything is read, with its place",
  async (block) => {
    const checkpoint = await checkpointWith([codes, scales("a.weight_scale_inv", [1, 1])], block);
    expect(() => planDequantize(checkpoint)).toThrow(/^config.json: quantization_config: .*2\^31 - 1/);
  },
);

test("a block larger than the matrix is one scale for all of it", async () => {
  const checkpoint = await checkpointWith([codes, scales("a.weight_scale_inv", [1, 1])], [2 ** 31 - 1, 512]);
  expect(planDequantize(checkpoint).tensors).toMatchObject([{ name: "a.weight", action: "dequantize" }]);
});

test.each([
  ["a.weight_scale_inv", "a.weight_scale"],
  ["a.weight_scale_inv", "a.scale"],
  ["a.scale", "a.weight_scale"],
])("two tensors that may be the scales of a weight are refused: %s and %s", async (first, second) => {
  const checkpoint = await checkpointWith([codes, scales(first), scales(second, [256, 1])]);
  for (const plan of [planDequantize, planQuantize]) {
    expect(() => plan(checkpoint)).toThrow(
      `tensor "a.weight": expected one tensor of scales, got tensor "${first}" and tensor "${second}"`,
    );
  }
});

test("what has a name of scales, but neither their type nor shape, is another tensor", async () => {
  const other = scales("a.scale", [7]);
  const ids = tensor("a.weight_scale", "I64", [2, 2], new Uint8Array(32));
  for (const own of [scales("a.weight_scale_inv"), scales("a.weight_scale")]) {
    const tensors = own.name === ids.name ? [codes, own, other] : [codes, own, other, ids];
    const { tensors: planned } = planDequantize(await checkpointWith(tensors));
    const actions = planned.map(({ name, action }) => [name, action]);
    expect(actions).toContainEqual(["a.weight", "dequantize"]);
    expect(actions).toContainEqual(["a.scale", "copy"]);
    expect(actions).toHaveLength(tensors.length - 1);
  }
});

test("packed codes with two tensors of scales are refused too", async () => {
  const packed = tensor("a.weight", "I8", [4, 32], new Uint8Array(128));
  const bytes = (name: string) => tensor(name, "U8", [4, 2], new Uint8Array(8).fill(127));
  const checkpoint = await checkpointWith([packed, bytes("a.scale"), bytes("a.weight_scale")]);
  expect(() => planDequantize(checkpoint)).toThrow(/one tensor of scales/);
});

test.each([
  '{"quantization_config": {}, "a": 1, "quantization_config": {}}',
  '{"quantization_config": {}, "quantization\\u005fconfig": {}}',
  '{"text_config": {"quantization_config": {}, "quantization_config": {}}}',
  '{"text_config": {"quantization_config": {}}, "text_config": {}}',
  '{"text_config": {"torch_dtype": "a"}, "text_config": {}}',
  '{"b": {"c": {}}, "b": {"c": {"quantization_config": {}}}}',
  '{"torch_dtype": "a", "torch_dtype": "b"}',
])("a member that is to be edited must stand once: %s", (text) => {
  expect(() => parseConfig("config.json", text)).toThrow(/^config.json: .* appears twice/);
});

test("other members may stand twice, as they stay as they are", () => {
  const text = '{"a": 1, "a": 2, "b": {"dtype": 1, "dtype": 2}, "text_config": {"a": 1, "a": 2}}';
  expect(parseConfig("config.json", text)).toEqual(JSON.parse(text));
  expect(() => parseConfig("config.json", "[]")).toThrow(/a JSON object/);
  expect(() => parseConfig("config.json", "{} 1")).toThrow(/a JSON object/);
});

test("a text that is no UTF-8 is refused: what cannot be read would be written back as something else", async () => {
  const text = new Blob([Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)]);
  await expect(readText("config.json", text)).rejects.toThrow(/^config.json: expected UTF-8 text, got other/);
  expect(await readText("config.json", new Blob(["\ufeff{}"]))).toBe("{}");
});

/** Headers of some square weights, without any bytes. */
function ofSize(n: number, size: number): Checkpoint {
  const bytes = 2 * size * size;
  const tensors = Array.from({ length: n }, (_, i) => ({
    name: `${i}.weight`,
    dtype: "BF16" as const,
    shape: [size, size],
    begin: i * bytes,
    end: (i + 1) * bytes,
  }));
  return {
    shards: [
      { name: "m.safetensors", header: { tensors, metadata: null, dataStart: 8 }, size: 8 + n * bytes },
    ],
    config: null,
  };
}

test("there are no more threads than strips, and none that do not pay", async () => {
  const plain = (n: number, size: number) =>
    fileWith(
      Array.from({ length: n }, (_, i) =>
        tensor(`${i}.weight`, "BF16", [size, size], new Uint8Array(2 * size * size)),
      ),
    );
  const planOf = async (file: Blob) => planQuantize(await checkpointOf({ "m.safetensors": file }));
  const small = await planOf(plain(1, 256));
  expect(threadsFor(small, 64)).toBe(1);
  expect(threadsFor(small, undefined)).toBeLessThan(2);
  const middle = await planOf(plain(3, 1280));
  expect(countStrips(middle, 100)).toBe(6);
  expect([1, 2, 64].map((threads) => threadsFor(middle, threads))).toEqual([1, 2, 6]);
  expect(threadsFor(middle, undefined)).toBeLessThan(2);
  const many = await planOf(plain(1000, 16));
  expect(threadsFor(many, 64)).toBe(64);
  expect(threadsFor(many, undefined)).toBe(0);
  const large = planQuantize(ofSize(50, 1024));
  expect(threadsFor(large, undefined)).toBe(1);
});

/** A checkpoint of so many experts, as its headers tell of it. */
function experts(count: number): Checkpoint {
  const size = 2 * 2048 * 7168;
  const tensors = Array.from({ length: count }, (_, i) => ({
    name: `model.layers.0.mlp.experts.${i >> 1}.${i % 2 === 0 ? "gate" : "up"}_proj.weight`,
    dtype: "BF16" as const,
    shape: [2048, 7168],
    begin: i * size,
    end: (i + 1) * size,
  }));
  // As a file gives them: names put together here would count as memory of whoever reads them first.
  const header = { tensors: JSON.parse(JSON.stringify(tensors)), metadata: null, dataStart: 8 };
  return { shards: [{ name: "m.safetensors", header, size: count * size }], config: null };
}

test.each(["deepseek-v3.1", "modelopt-nvfp4"] as const)(
  "a plan for %s takes less than 500 bytes a tensor: a large model has a hundred thousand",
  (to) => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const heap = () => {
      for (let i = 0; i < 3; i++) collect();
      return process.memoryUsage().heapUsed;
    };
    const checkpoint = experts(5000);
    planQuantize(experts(1000), { to });
    // The least of some, since code that is compiled meanwhile counts too.
    let each = Infinity;
    for (let i = 0; i < 3; i++) {
      const before = heap();
      const plan = planQuantize(checkpoint, { to });
      each = Math.min(each, (heap() - before) / 5000);
      expect(plan.tensors).toHaveLength(5000);
    }
    expect(each).toBeLessThan(500);
  },
);

test("the steps of a plan are the same at each look, and in a copy", async () => {
  const odd = tensor("b.weight", "F32", [3, 3], new Float32Array(9).fill(1));
  const shared = ["a", "c"].map((name) => ({ ...codes, name: `m.${name}.weight` }));
  const checkpoint = await checkpointWith([...shared, scales("m.weight_scale", [1]), odd]);
  for (const to of ["deepseek-v3.1", "deepseek-v3", "modelopt-nvfp4"] as const) {
    for (const exclude of [[], ["m.*"]]) {
      const plan = planQuantize(checkpoint, { to, exclude, also: ["b.*"] });
      const steps = plan.files[0]!.steps;
      expect(plan.files[0]!.steps).toEqual(steps);
      expect(structuredClone(plan)).toEqual(plan);
      // A scale that two weights share is written once.
      const written = steps.flatMap(({ tensors }) => tensors.map(({ name }) => name));
      expect(new Set(written).size).toBe(written.length);
      if (exclude.length > 0) expect(written).toContain("m.weight_scale");
    }
  }
});
