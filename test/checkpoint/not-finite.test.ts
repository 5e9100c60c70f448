import { beforeAll, describe, expect, test } from "vitest";
import { compareCheckpoints } from "../../src/checkpoint/measure/compare.ts";
import { jsonOf, summarize } from "../../src/checkpoint/measure/summary.ts";
import { type DequantizeOptions, planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { load } from "../../src/load.ts";
import { checkpointOf, fileWith, run, type Stored, tensor, valuesAs } from "../support/checkpoint-files.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await load();
});

/** What dequantising one weight of the name `w` is reported as. */
async function dequantized(stored: readonly Stored[], dtype: DequantizeOptions["dtype"]) {
  const file = fileWith(stored);
  const plan = planDequantize(await checkpointOf({ m: file }), { dtype });
  const { measured } = await run(plan, [file], engine);
  return summarize(plan, measured);
}

const scaled = (codes: readonly number[], scale: number, dtype: "F8_E4M3" | "F8_E5M2" = "F8_E4M3") => [
  tensor("w", dtype, [1, codes.length], Uint8Array.from(codes)),
  tensor("w_scale_inv", "F32", [1, 1], Float32Array.of(scale)),
];

describe("dequantize: what became Inf is not exact", () => {
  test.each([
    ["f16", [0x7e, 0x38, 0xfe], 4096, 2],
    ["bf16", [0x7e, 0x38], 2 ** 120, 1],
    ["f32", [0x7e, 0x38], 2 ** 120, 1],
    // In float32 it is finite, and rounds up to Inf.
    ["bf16", [0x7e, 0x38], 1.1428570747375488 * 2 ** 119, 1],
  ] as const)("%s of codes %j times %f: %i", async (dtype, codes, scale, nonFinite) => {
    const { tensors, total } = await dequantized(scaled(codes, scale), dtype);
    for (const { precision } of [...tensors, total]) {
      expect(precision).toMatchObject({ nonFinite, sqnrDb: -Infinity, values: codes.length });
    }
  });

  test.each(["f32", "bf16", "f16"] as const)(
    "%s: codes that are NaN or Inf stay what they are",
    async (dtype) => {
      const { total } = await dequantized(scaled([0x7f, 0x38, 0xff], 3), dtype);
      expect(total.precision).toMatchObject({ nonFinite: 0, sqnrDb: null });
      const inf = await dequantized(scaled([0x7c, 0x38, 0xfe], 2 ** 14, "F8_E5M2"), dtype);
      expect(inf.total.precision).toMatchObject({ nonFinite: 0, sqnrDb: null });
    },
  );
});

const side = async (values: readonly number[], dtype: "F32" | "BF16" = "F32") => {
  const file = fileWith([valuesAs("w", dtype, [2, values.length / 2], Float32Array.from(values))]);
  return { checkpoint: await checkpointOf({ m: file }), sources: [file] };
};
const compared = async (a: readonly number[], b: readonly number[]) =>
  (await compareCheckpoints(await side(a), await side(b), engine))[0]!;

describe("compare: what is not finite on one side is not exact", () => {
  test.each([
    [
      [1, 1, 1, 1],
      [1, 1, NaN, 1],
    ],
    [
      [1, NaN, 1, 1],
      [1, 1, 1, 1],
    ],
    [
      [1, Infinity, 1, 1],
      [1, -Infinity, 1, 1],
    ],
    [
      [1, NaN, 1, 1],
      [1, Infinity, 1, 1],
    ],
  ])("%j and %j", async (a, b) => {
    const { precision, worstBlock } = await compared(a, b);
    expect(precision).toEqual({
      sqnrDb: -Infinity,
      maxRelativeError: 0,
      maxAbsoluteError: 0,
      maxErrorOfAmax: 0,
      amax: 1,
      saturated: 0,
      flushedToZero: 0,
      nonFinite: 1,
      values: 4,
      cosine: expect.closeTo(1, 12),
    });
    expect(worstBlock).toEqual({ row: 0, col: 0, noiseToSignal: Infinity });
  });

  test("the same NaN and Inf on both sides hide no other error, nor the worst block", async () => {
    const many = Array.from({ length: 2 * 256 }, () => 1);
    const [a, b] = [many.slice(), many.slice()];
    [a[0], b[0], a[1], b[1]] = [NaN, NaN, Infinity, Infinity];
    expect((await compared(a, b)).precision).toMatchObject({ sqnrDb: null, nonFinite: 0 });
    b[200] = 2;
    const { precision, worstBlock } = await compared(a, b);
    expect(precision).toMatchObject({ nonFinite: 0, maxAbsoluteError: 1 });
    expect(precision!.sqnrDb).toBeCloseTo(10 * Math.log10(510), 9);
    expect(worstBlock).toMatchObject({ row: 0, col: 128, noiseToSignal: 1 / 256 });
    b[300] = NaN;
    expect((await compared(a, b)).worstBlock).toMatchObject({ row: 0, col: 0, noiseToSignal: Infinity });
  });

  test("everything became zero", async () => {
    const { precision } = await compared([1, 2], [0, 0]);
    expect(precision).toMatchObject({ cosine: 0, sqnrDb: 0, flushedToZero: 2 });
  });
});

test("scales of activations are not missed where a conversion has dropped them", async () => {
  const input = tensor("w.input_scale", "F32", [1], Float32Array.of(1));
  const [codes, scale] = scaled([0x38], 1).map((stored) => ({
    ...stored,
    name: stored.name.replace("w", "w.weight"),
  })) as [Stored, Stored];
  const files = [fileWith([codes, scale, input]), fileWith([codes, scale])];
  const [a, b] = await Promise.all(
    files.map(async (file) => ({ checkpoint: await checkpointOf({ m: file }), sources: [file] })),
  );
  for (const sides of [
    [a!, b!],
    [b!, a!],
  ] as const) {
    const found = await compareCheckpoints(...sides, engine);
    expect(found.find(({ name }) => name === "w.input_scale")!.status).toBe("not compared");
  }
});

test("JSON does not turn what is no number into null", () => {
  const record = { db: -Infinity, ratio: Infinity, x: NaN, exact: null, list: [1, NaN] };
  const told = { db: "-Infinity", ratio: "Infinity", x: "NaN", exact: null, list: [1, "NaN"] };
  expect(JSON.parse(jsonOf(record))).toEqual(told);
});
