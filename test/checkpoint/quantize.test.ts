import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { type DialectName, dialects, partName } from "../../src/checkpoint/dialects/index.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import { scaleShape } from "../../src/checkpoint/read/weights.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { sqnr } from "../../src/engine/precision.ts";
import { load } from "../../src/load.ts";
import { DTYPE_BITS } from "../../src/safetensors/dtype.ts";
import { FORMATS } from "../../src/tensor/formats.ts";
import { bf16, f16 } from "../../src/tensor/halves.ts";
import { countBlocks } from "../reference/block.ts";
import { reference } from "../reference/engine.ts";
import {
  checkpointOf,
  fileWith,
  run,
  type Stored,
  tensor,
  tensorsOf,
  valuesAs,
} from "../support/checkpoint-files.ts";
import { randomNormal, randomWords } from "../support/random.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await load();
});

/** Those of FP8; FP4 and FP6 have tests of their own. */
const names = (Object.keys(dialects) as DialectName[]).filter(
  (name) => FORMATS[dialects[name].storage.scheme.format].codeBits === 8,
);

/** Scales as the file holds them, from the definitions. */
function storedScales(scales: Uint8Array | Float32Array, dtype: string): Uint8Array {
  if (dtype !== "F32") return scales as Uint8Array;
  const floats =
    scales instanceof Float32Array ? scales : Float32Array.from(scales, (byte) => 2 ** (byte - 127));
  return new Uint8Array(floats.buffer);
}

describe.each(names)("written as %s", (to) => {
  const dialect = dialects[to];

  test.each(["BF16", "F16", "F32"] as const)(
    "codes and scales of %s weights are those of the definitions",
    async (dtype) => {
      // 160 rows and 288 columns leave ragged blocks of 128 in both directions, and whole ones of 32.
      const shape = [160, 288];
      const values = randomNormal(3, 160 * 288);
      values.fill(0, 0, 64);
      const weight = valuesAs("model.layers.0.mlp.up_proj.weight", dtype, shape, values);
      const file = fileWith([weight]);
      const plan = planQuantize(await checkpointOf({ "m.safetensors": file }), { to });
      const { files, measured } = await run(plan, [file], engine);
      const found = await tensorsOf(files[0]!);
      const bits = new Uint16Array(weight.bytes.buffer, 0, dtype === "F32" ? 0 : values.length);
      const input = dtype === "F32" ? values : dtype === "BF16" ? bf16(bits) : f16(bits);
      const want = reference.quantize(input, shape, dialect.storage.scheme);
      expect([...found.keys()]).toEqual([weight.name, partName(weight.name, dialect.storage.scales)]);
      const [codes, scales] = [...found.values()] as Stored[] as [Stored, Stored];
      expect(codes).toMatchObject({ dtype: "F8_E4M3", shape });
      expect(Buffer.compare(codes.bytes, want.codes)).toBe(0);
      expect(scales).toMatchObject({
        dtype: dialect.storage.scales.dtype,
        shape: scaleShape(shape, dialect.storage.scheme.block),
      });
      expect(Buffer.compare(scales.bytes, storedScales(want.scales, dialect.storage.scales.dtype))).toBe(0);
      expect(files[0]!.size).toBe(plan.files[0]!.size);
      expect(sqnr(measured.get(weight.name)!)).toBeGreaterThan(29);
    },
  );
});

test("the same bytes and figures, however a weight is cut into strips and however many are under way", async () => {
  const shape = [1300, 1100];
  const weight = valuesAs("a.weight", "BF16", shape, randomNormal(5, 1300 * 1100));
  const file = fileWith([weight]);
  const plan = planQuantize(await checkpointOf({ "m.safetensors": file }), { to: "deepseek-v3.1" });
  const [one, five] = [await run(plan, [file], engine, 1), await run(plan, [file], engine, 5)];
  const bits = new Uint16Array(weight.bytes.buffer);
  const whole = engine.quantize(bf16(bits), shape, dialects["deepseek-v3.1"].storage.scheme);
  const found = await tensorsOf(one.files[0]!);
  expect(Buffer.compare(found.get("a.weight")!.bytes, whole.codes)).toBe(0);
  expect(await five.files[0]!.arrayBuffer()).toEqual(await one.files[0]!.arrayBuffer());
  expect(five.measured).toEqual(one.measured);
  expect(one.measured.get("a.weight")!.count).toBe(1300 * 1100);
});

test("everything else is copied byte for byte, with the metadata", async () => {
  const others: Stored[] = [
    tensor("model.embed_tokens.weight", "BF16", [40, 32], Uint16Array.from(randomWords(1, 1280))),
    tensor("model.norm.weight", "F32", [32], Float32Array.from(randomWords(2, 32))),
    tensor("lm_head.weight", "F16", [40, 32], Uint16Array.from(randomWords(3, 1280))),
    tensor("model.layers.0.mlp.gate.weight", "BF16", [4, 32], Uint16Array.from(randomWords(4, 128))),
    tensor("model.layers.0.self_attn.q_proj.bias", "BF16", [33], Uint16Array.from(randomWords(5, 33))),
    tensor("model.layers.0.ids", "I64", [2], new Uint8Array(16).fill(7)),
    tensor("empty.weight", "BF16", [0, 32], new Uint16Array(0)),
    tensor("scalar", "F32", [], Float32Array.of(NaN)),
  ];
  const linear = valuesAs("model.layers.0.mlp.gate_proj.weight", "BF16", [32, 32], randomNormal(6, 1024));
  const file = fileWith([...others, linear], [["format", "pt"]]);
  const plan = planQuantize(await checkpointOf({ "m.safetensors": file }), {});
  const { files } = await run(plan, [file], engine);
  const found = await tensorsOf(files[0]!);
  for (const { name, dtype, shape, bytes } of others) {
    const isEmpty = name === "empty.weight";
    expect(found.get(name)).toMatchObject({ dtype: isEmpty ? "F8_E4M3" : dtype, shape });
    expect(Buffer.compare(found.get(name)!.bytes, bytes), name).toBe(0);
  }
  expect(found.get(linear.name)!.dtype).toBe("F8_E4M3");
  expect(plan.tensors.filter(({ action }) => action === "quantize").map(({ name }) => name)).toEqual([
    "empty.weight",
    linear.name,
  ]);
  for (const { action, reason } of plan.tensors) expect(reason === null).toBe(action === "quantize");
});

test("stacked experts are tiled slice by slice", async () => {
  const shape = [3, 130, 64];
  const values = randomNormal(9, 3 * 130 * 64);
  const file = fileWith([valuesAs("experts.gate_up_proj", "F32", shape, values)]);
  const plan = planQuantize(await checkpointOf({ "m.safetensors": file }), { include: ["experts*"] });
  const { files } = await run(plan, [file], engine);
  const found = await tensorsOf(files[0]!);
  const want = reference.quantize(values, shape, dialects["deepseek-v3.1"].storage.scheme);
  expect(found.get("experts.gate_up_proj_scale_inv")!.shape).toEqual([3, 2, 1]);
  expect(countBlocks(shape, [128, 128])).toBe(6);
  expect(Buffer.compare(found.get("experts.gate_up_proj")!.bytes, want.codes)).toBe(0);
});

test("NaN and Inf are refused, with the tensor and the place", async () => {
  const values = new Float32Array(256 * 256).fill(1);
  values[200 * 256 + 130] = Infinity;
  const file = fileWith([valuesAs("a.weight", "BF16", [256, 256], values)]);
  const plan = planQuantize(await checkpointOf({ "m.safetensors": file }), {});
  await expect(run(plan, [file], engine)).rejects.toMatchObject({
    code: "dialect",
    message: expect.stringMatching(/"a.weight".*row 128, column 128/),
  });
});

test("a name that the scales need and somebody else has is refused", async () => {
  const zeros = new Float32Array(32);
  const file = fileWith([
    valuesAs("a.weight", "F32", [1, 32], zeros),
    valuesAs("a.weight_scale_inv", "F32", [1], zeros.subarray(0, 1)),
  ]);
  const checkpoint = await checkpointOf({ "m.safetensors": file });
  expect(() => planQuantize(checkpoint, {})).toThrow(/a.weight_scale_inv.*free for scales/);
});

test("one row of blocks that no memory could hold is refused before anything is read", async () => {
  const checkpoint = {
    config: null,
    shards: [
      {
        name: "m",
        size: 2 ** 40,
        header: {
          metadata: null,
          dataStart: 8,
          tensors: [{ name: "a.weight", dtype: "BF16", shape: [128, 2 ** 24], begin: 0, end: 2 ** 32 }],
        },
      },
    ],
  } as const;
  expect(() => planQuantize(checkpoint, {})).toThrow(/one row of blocks/);
  expect(planQuantize(checkpoint, { to: "mxfp8" }).files[0]!.size).toBeGreaterThan(2 ** 31);
});

const shapes = fc.array(
  fc.record({
    rows: fc.integer({ min: 0, max: 5 }),
    cols: fc.integer({ min: 0, max: 37 }),
    dtype: fc.constantFrom("BF16", "F16", "F32", "BOOL", "I64"),
    isLinear: fc.boolean(),
  }),
  { maxLength: 10 },
);

test("every tensor starts at a multiple of its element size, in every dialect, and sizes come out as planned", () =>
  fc.assert(
    fc.asyncProperty(shapes, fc.constantFrom(...names), async (list, to) => {
      const file = fileWith(
        list
          .map(({ rows, cols, dtype, isLinear }, i) => {
            const bytes = new Uint8Array((rows * cols * DTYPE_BITS[dtype as "BOOL"]) / 8);
            return tensor(
              `t${i}.${isLinear ? "up_proj.weight" : "norm"}`,
              dtype as "BOOL",
              [rows, cols],
              bytes,
            );
          })
          .sort((a, b) => DTYPE_BITS[b.dtype] - DTYPE_BITS[a.dtype]),
      );
      const plan = planQuantize(await checkpointOf({ "m.safetensors": file }), { to });
      const { files } = await run(plan, [file], engine);
      expect(files[0]!.size).toBe(plan.files[0]!.size);
      for (const { dtype, start } of (await tensorsOf(files[0]!)).values()) {
        expect(start % (DTYPE_BITS[dtype] / 8)).toBe(0);
      }
    }),
  ));

test("cancelling ends the run with the reason given", async () => {
  const file = fileWith([valuesAs("a.weight", "F32", [2000, 1000], new Float32Array(2_000_000).fill(1))]);
  const plan = planQuantize(await checkpointOf({ "m.safetensors": file }), {});
  const controller = new AbortController();
  const { fileStream, localConverter } = await import("../../src/checkpoint/run/run.ts");
  const stream = fileStream(plan.files[0]!, {
    sources: [file],
    convert: localConverter(engine, [file]),
    signal: controller.signal,
    onProgress: () => controller.abort(new Error("enough")),
  });
  await expect(new Response(stream).arrayBuffer()).rejects.toThrow("enough");
});

test("a finite value that its code and scale would turn into Inf is refused", async () => {
  const values = new Float32Array(64).fill(1);
  values[5] = 3.4e38;
  const file = fileWith([valuesAs("a.up_proj.weight", "F32", [2, 32], values)]);
  const plan = planQuantize(await checkpointOf({ "m.safetensors": file }), {});
  await expect(run(plan, [file], engine)).rejects.toThrow(/a\.up_proj\.weight.*would become Inf/);
});
