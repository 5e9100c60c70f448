import { beforeAll, describe, expect, test } from "vitest";
import { type DialectName, dialects } from "../../src/checkpoint/dialects/index.ts";
import { inspect } from "../../src/checkpoint/measure/inspect.ts";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { sqnr } from "../../src/engine/precision.ts";
import { load } from "../../src/load.ts";
import type { Dtype } from "../../src/safetensors/dtype.ts";
import { FORMATS } from "../../src/tensor/formats.ts";
import { decode, E2M1 } from "../reference/binary.ts";
import { decodeCode } from "../reference/cast.ts";
import { checkpointOf, fileWith, run, tensor, tensorsOf, valuesAs } from "../support/checkpoint-files.ts";
import { randomNormal, randomWords } from "../support/random.ts";

// Checkpoints that are quantised already, written in another dialect.

let engine: Engine;
beforeAll(async () => {
  engine = await load();
});

const [ROWS, COLS] = [160, 96];
/** Codes of all kinds but NaN, and not the largest binade. */
const codes = Uint8Array.from(randomWords(1, ROWS * COLS), (word) => word & 0xbf);
const weight = tensor("a.weight", "F8_E4M3", [ROWS, COLS], codes);
const powers = Float32Array.of(2 ** -9, 2 ** -7);

async function converted(file: Blob, to: DialectName) {
  const plan = planQuantize(await checkpointOf({ "m.safetensors": file }), { to });
  const { files, measured } = await run(plan, [file], engine);
  return { file: files[0]!, measured, plan };
}

const original = fileWith([
  valuesAs("model.layers.0.up_proj.weight", "BF16", [288, 320], randomNormal(11, 288 * 320)),
  valuesAs("model.norm.weight", "BF16", [64], randomNormal(12, 64)),
]);

describe("from dialect to dialect", () => {
  /** Those of FP8; FP4 and FP6 have tests of their own. */
  const names = (Object.keys(dialects) as DialectName[]).filter(
    (name) => FORMATS[dialects[name].storage.scheme.format].codeBits === 8,
  );
  test.each(names.flatMap((from) => names.map((to) => [from, to] as const)))("%s to %s", async (from, to) => {
    const source = (await converted(original, from)).file;
    const { file, measured } = await converted(source, to);
    const [precision] = [...measured.values()];
    const isTile = (name: DialectName) => dialects[name].storage.scheme.block[0] === 128;
    const keeps = (!isTile(to) || isTile(from)) && (from !== "deepseek-v3" || to === "deepseek-v3");
    const [before, after] = [await tensorsOf(source), await tensorsOf(file)];
    const name = "model.layers.0.up_proj.weight";
    const same = Buffer.compare(before.get(name)!.bytes, after.get(name)!.bytes) === 0;
    if (keeps) {
      expect(same).toBe(true);
      expect(sqnr(precision!)).toBe(Infinity);
    } else {
      // Quantised anew: as good as the first time, never a scale rounded under codes that stay.
      expect(sqnr(precision!)).toBeGreaterThan(29);
    }
    const [x, y] = [await plainOf(source), await plainOf(file)];
    const error = x.reduce((most, value, i) => Math.max(most, Math.abs(value - y[i]!)), 0);
    expect(error).toBe(precision!.maxError);
    // Without config.json nothing tells that formats may differ, both MXFP8 dialects of vLLM look the same, and kept powers of two like DeepSeek-V3.1.
    const looks =
      to === "compressed-tensors-mixed"
        ? "fp8 blocks"
        : to === "modelopt"
          ? "compressed-tensors"
          : to === "deepseek-v3" && from !== to && keeps
            ? "deepseek-v3.1"
            : to;
    expect((await inspect(await checkpointOf({ m: file }), [file])).dialect).toBe(looks);
  });

  async function plainOf(file: Blob): Promise<Float32Array> {
    const plan = planDequantize(await checkpointOf({ "m.safetensors": file }), { dtype: "f32" });
    const { files } = await run(plan, [file], engine);
    const { bytes } = (await tensorsOf(files[0]!)).get("model.layers.0.up_proj.weight")!;
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  }
});

test("float32 scales that happen to be powers of two become UE8M0 without a change of codes", async () => {
  const file = fileWith([weight, tensor("a.weight_scale_inv", "F32", [2, 1], powers)]);
  const found = await tensorsOf((await converted(file, "mxfp8")).file);
  expect(Buffer.compare(found.get("a.weight")!.bytes, codes)).toBe(0);
  const scales = found.get("a.weight_scale_inv")!;
  expect(scales).toMatchObject({ dtype: "U8" satisfies Dtype, shape: [ROWS, 3] });
  expect([...scales.bytes]).toEqual(Array.from({ length: ROWS * 3 }, (_, i) => (i < 128 * 3 ? 118 : 120)));
});

/** Code i of those that lie two to a byte, the first in the lower four bits. */
const nibbleOf = (packed: Uint8Array, i: number) => (packed[i >> 1]! >> (4 * (i & 1))) & 15;

test("FP4 experts become FP8 without loss where blocks allow it", async () => {
  const packed = Uint8Array.from(randomWords(3, 192));
  const scales = Uint8Array.from({ length: 12 }, (_, i) => 120 + i);
  const file = fileWith([
    tensor("a.weight", "I8", [6, 32], packed),
    tensor("a.scale", "F8_E8M0", [6, 2], scales),
  ]);
  const { file: mx, measured } = await converted(file, "mxfp8");
  expect(sqnr(measured.get("a.weight")!)).toBe(Infinity);
  const found = await tensorsOf(mx);
  expect([...found.get("a.weight_scale_inv")!.bytes]).toEqual([...scales]);
  const values = [...found.get("a.weight")!.bytes].map((code) => decodeCode("e4m3", code));
  expect(values).toEqual(Array.from({ length: 384 }, (_, i) => decode(E2M1, nibbleOf(packed, i))));
});

test("plain weights of a quantised checkpoint stay as they are, unless asked for", async () => {
  const linear = valuesAs("b.up_proj.weight", "BF16", [32, 32], randomNormal(1, 1024));
  const file = fileWith([weight, tensor("a.weight_scale_inv", "F32", [2, 1], powers), linear]);
  const checkpoint = await checkpointOf({ m: file });
  const action = (options: object) =>
    planQuantize(checkpoint, options).tensors.find(({ name }) => name === linear.name)!.action;
  expect(action({})).toBe("copy");
  expect(action({ include: ["b.*"] })).toBe("quantize");
});
