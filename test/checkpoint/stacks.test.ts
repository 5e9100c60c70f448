import { beforeAll, describe, expect, test } from "vitest";
import { type DialectName, dialects } from "../../src/checkpoint/dialects/index.ts";
import { compareCheckpoints } from "../../src/checkpoint/measure/compare.ts";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { documentsOf } from "../../src/checkpoint/plan/folder.ts";
import { countStrips, type Plan } from "../../src/checkpoint/plan/plan.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import type { Checkpoint } from "../../src/checkpoint/read/checkpoint.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { load } from "../../src/load.ts";
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

// Stacks of slices so small that several make one strip: the bytes must be those of each slice by itself.

let engine: Engine;
beforeAll(async () => {
  engine = await load();
});

const SLICES = 5;

/** Tensors stacked, and each slice as a tensor of its own. */
function stackAndSlices(stack: readonly Stored[]): [whole: Blob, slices: Blob] {
  const slices = Array.from({ length: SLICES }, (_, i) =>
    stack.map(({ name, dtype, shape, bytes }) => {
      const length = bytes.length / SLICES;
      const own = bytes.slice(i * length, (i + 1) * length);
      return tensor(name.replace("stack", `slice.${i}`), dtype, shape.slice(1), own);
    }),
  );
  return [fileWith(stack), fileWith(slices.flat())];
}

async function convert(file: Blob, planOf: (checkpoint: Checkpoint) => Plan) {
  const plan = planOf(await checkpointOf({ "m.safetensors": file }));
  const { files, measured } = await run(plan, [file], engine);
  return { plan, file: files[0]!, measured };
}

async function expectSame(stack: readonly Stored[], planOf: (checkpoint: Checkpoint) => Plan) {
  const [whole, slices] = stackAndSlices(stack);
  const [one, many] = [await convert(whole, planOf), await convert(slices, planOf)];
  expect(countStrips(one.plan, 100)).toBe(1);
  const [found, expected] = [await tensorsOf(one.file), await tensorsOf(many.file)];
  expect(found.size).toBe(stack.length === 1 ? expected.size / SLICES : found.size);
  for (const [name, { bytes, shape }] of found) {
    const parts = Array.from(
      { length: SLICES },
      (_, i) => expected.get(name.replace("stack", `slice.${i}`))!,
    );
    expect(shape).toEqual([SLICES, ...parts[0]!.shape]);
    expect(Buffer.compare(bytes, Buffer.concat(parts.map((part) => part.bytes))), name).toBe(0);
  }
  const { count } = one.measured.values().next().value!;
  expect(count).toBe([...many.measured.values()].reduce((n, precision) => n + precision.count, 0));
}

const shapes = [
  [130, 96],
  [128, 64],
  [3, 160],
  [1, 32],
] as const;
const everything = { include: ["*"] };

/** Dialects that store a stack as it lies, and a slice of it in the same way. */
const TO_STACKS = (Object.keys(dialects) as DialectName[]).filter((name) => {
  const { tensorScale, transposesStacks } = dialects[name].storage;
  return tensorScale === undefined && !transposesStacks;
});

describe.each(shapes)("slices of %i x %i", (rows, cols) => {
  const n = SLICES * rows * cols;
  const values = valuesAs("stack.weight", "BF16", [SLICES, rows, cols], randomNormal(rows, n));
  const codes = tensor(
    "stack.weight",
    "F8_E4M3",
    [SLICES, rows, cols],
    Uint8Array.from(randomWords(rows, n), (word) => word & 0xbf),
  );
  const grid = [SLICES, Math.ceil(rows / 128), Math.ceil(cols / 128)];
  const count = grid.reduce((product, size) => product * size, 1);
  const powers = tensor(
    "stack.weight_scale_inv",
    "F32",
    grid,
    Float32Array.from({ length: count }, (_, i) => 2 ** (i % 9)),
  );
  const odd = tensor(
    "stack.weight_scale_inv",
    "F32",
    grid,
    Float32Array.from({ length: count }, (_, i) => 0.1 * (i + 1) + 0.003),
  );

  test.each(TO_STACKS)("quantised to %s", async (to) => {
    await expectSame([values], (checkpoint) => planQuantize(checkpoint, { to, ...everything }));
  });
  test.each(["bf16", "f32"] as const)("dequantised to %s", async (dtype) => {
    await expectSame([codes, odd], (checkpoint) => planDequantize(checkpoint, { dtype }));
  });
  test("requantised, codes kept", async () => {
    await expectSame([codes, powers], (checkpoint) =>
      planQuantize(checkpoint, { to: "mxfp8", ...everything }),
    );
  });
  test("requantised anew", async () => {
    await expectSame([codes, odd], (checkpoint) => planQuantize(checkpoint, { to: "mxfp8", ...everything }));
  });
});

test("stacks of codes that no loader of the dialect reads are not stored in it", async () => {
  const name = "model.layers.0.feed_forward.experts.up_proj";
  const file = fileWith([
    tensor(name, "F8_E4M3", [2, 128, 128], new Uint8Array(2 * 128 * 128).fill(0x38)),
    tensor(`${name}_scale`, "F32", [2, 1, 128], new Float32Array(256).fill(0.3)),
  ]);
  const config = { model_type: "llama4", hidden_size: 128, intermediate_size: 128 };
  const checkpoint = { ...(await checkpointOf({ m: file })), config };
  const opened = { checkpoint, sources: [file], documents: [], others: [], leftOut: [], unread: [] };
  for (const to of ["deepseek-v3.1", "mxfp8", "modelopt"] as const) {
    const plan = planQuantize(checkpoint, { to });
    expect(plan.tensors[0]).toMatchObject({ action: "copy", wasScaled: true });
    expect(() => documentsOf(opened as never, plan, { kind: "quantize", to })).toThrow(
      /expected every quantised weight in one dialect.*Dequantise the checkpoint first/,
    );
    expect(planQuantize(checkpoint, { to, also: ["*experts*"] }).tensors[0]!.action).toBe("requantize");
  }
});

test("FP4 of gpt-oss is transposed slice by slice", async () => {
  const [rows, blocks] = [6, 2];
  const bytes = Uint8Array.from(randomWords(8, SLICES * rows * blocks * 16));
  const stack = [
    tensor("stack_blocks", "U8", [SLICES, rows, blocks, 16], bytes),
    tensor("stack_scales", "U8", [SLICES, rows, blocks], new Uint8Array(SLICES * rows * blocks).fill(125)),
  ];
  await expectSame(stack, (checkpoint) => planDequantize(checkpoint));
  const file = fileWith(stack);
  const { file: plain } = await convert(file, (checkpoint) => planDequantize(checkpoint, { dtype: "f32" }));
  const sides = await Promise.all(
    [file, plain].map(async (source) => ({
      checkpoint: await checkpointOf({ m: source }),
      sources: [source],
    })),
  );
  const [compared] = await compareCheckpoints(sides[0]!, sides[1]!, engine);
  expect(compared).toMatchObject({ status: "compared", precision: { maxAbsoluteError: 0 } });
});

test("the worst block is found in its slice", async () => {
  const [rows, cols] = [130, 200];
  const before = randomNormal(1, SLICES * rows * cols);
  const after = before.slice();
  after[(3 * rows + 129) * cols + 150]! += 100;
  const sides = await Promise.all(
    [before, after].map(async (values) => {
      const file = fileWith([valuesAs("a", "F32", [SLICES, rows, cols], values)]);
      return { checkpoint: await checkpointOf({ m: file }), sources: [file] };
    }),
  );
  const [compared] = await compareCheckpoints(sides[0]!, sides[1]!, engine);
  expect(compared!.worstBlock).toMatchObject({ row: 3 * rows + 128, col: 128 });
});

test("the place of a NaN counts rows over the slices", async () => {
  const values = randomNormal(1, SLICES * 130 * 96);
  values[(3 * 130 + 129) * 96] = NaN;
  const file = fileWith([valuesAs("stack.weight", "F32", [SLICES, 130, 96], values)]);
  const failed = convert(file, (checkpoint) => planQuantize(checkpoint, everything));
  await expect(failed).rejects.toThrow(`row ${3 * 130 + 128}, column 0`);
});

test("two hundred thousand slices of one value are few strips", async () => {
  const n = 200_000;
  const stack = [
    tensor("a.weight", "F8_E4M3", [n, 1, 1], new Uint8Array(n).fill(0x38)),
    tensor(
      "a.weight_scale_inv",
      "F32",
      [n, 1, 1],
      Float32Array.from({ length: n }, (_, i) => i + 1),
    ),
  ];
  const { plan, file } = await convert(fileWith(stack), (checkpoint) =>
    planDequantize(checkpoint, { dtype: "f32" }),
  );
  expect(countStrips(plan, 100)).toBe(1);
  const { bytes } = (await tensorsOf(file)).get("a.weight")!;
  const found = new Float32Array(bytes.buffer, bytes.byteOffset, n);
  expect(found.every((value, i) => value === i + 1)).toBe(true);
});
