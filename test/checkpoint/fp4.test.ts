import { beforeAll, describe, expect, test } from "vitest";
import type { DialectName } from "../../src/checkpoint/dialects/index.ts";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { load } from "../../src/load.ts";
import { decode, E2M1, E4M3, encodeSaturating } from "../reference/binary.ts";
import { widen } from "../reference/cast.ts";
import { scaleByte } from "../reference/scale.ts";
import {
  checkpointOf,
  fileWith,
  run,
  type Stored,
  tensorsOf,
  valuesAs,
} from "../support/checkpoint-files.ts";
import { randomNormal } from "../support/random.ts";

// FP4 as each dialect stores it: codes and scales held against definitions written here, and read back by our own reader.

let engine: Engine;
beforeAll(async () => {
  engine = await load();
});

const fround = Math.fround;

/**
 * What a weight is to become: codes, scales as bytes, the float32 of NVFP4, and the values that readers get.
 */
interface Expected {
  readonly codes: Uint8Array;
  readonly scales: number[];
  readonly values: number[];
}

function blocksOf(values: Float32Array, width: number): Float32Array[] {
  return Array.from({ length: values.length / width }, (_, i) => values.subarray(i * width, (i + 1) * width));
}

const amaxOf = (values: Float32Array) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

/** MXFP4: a power of two for 32 values. */
function mxfp4(values: Float32Array, rounding: "rceil" | "even", leastByte = 0): Expected {
  const blocks = blocksOf(values, 32).map((block) => {
    const amax = amaxOf(block);
    const byte = amax === 0 ? leastByte : Math.max(leastByte, scaleByte(rounding, "e2m1", amax));
    const codes = [...block].map((x) => encodeSaturating(E2M1, x / 2 ** (byte - 127)));
    return { byte, codes, values: codes.map((code) => decode(E2M1, code) * 2 ** (byte - 127)) };
  });
  return {
    codes: Uint8Array.from(blocks.flatMap(({ codes }) => codes)),
    scales: blocks.map(({ byte }) => byte),
    values: blocks.flatMap((block) => block.values),
  };
}

/** NVFP4: an E4M3 scale for 16 values, and a float32 that multiplies or divides the scales of all of them. */
function nvfp4(values: Float32Array, factor: number, divides: boolean): Expected {
  const blocks = blocksOf(values, 16).map((block) => {
    const sixth = fround(amaxOf(block) / 6);
    const byte = encodeSaturating(E4M3, fround(divides ? sixth * factor : sixth / factor));
    const scale = decode(E4M3, byte);
    const multiplier = fround(divides ? scale / factor : scale * factor);
    const codes = [...block].map((x) =>
      multiplier === 0 ? 0 : encodeSaturating(E2M1, fround(x / multiplier)),
    );
    return { byte, codes, values: codes.map((code) => fround(decode(E2M1, code) * multiplier)) };
  });
  return {
    codes: Uint8Array.from(blocks.flatMap(({ codes }) => codes)),
    scales: blocks.map(({ byte }) => byte),
    values: blocks.flatMap((block) => block.values),
  };
}

/** Codes of a file, low nibble first. */
const nibbles = ({ bytes }: Stored) =>
  Uint8Array.from({ length: 2 * bytes.length }, (_, i) => (bytes[i >> 1]! >> (4 * (i % 2))) & 15);
const floats = ({ bytes }: Stored) => new Float32Array(bytes.slice().buffer);
/** As the file holds them; -0 is a code of its own. */
const bitsOf = (values: ArrayLike<number>) => new Uint32Array(Float32Array.from(values).buffer);

async function quantized(file: Blob, to: DialectName) {
  const plan = planQuantize(await checkpointOf({ "m.safetensors": file }), { to });
  const { files } = await run(plan, [file], engine, 3);
  return { file: files[0]!, found: await tensorsOf(files[0]!), plan };
}

async function plainOf(file: Blob): Promise<Map<string, Stored>> {
  const plan = planDequantize(await checkpointOf({ m: file }), { dtype: "f32" });
  return tensorsOf((await run(plan, [file], engine)).files[0]!);
}

const [ROWS, COLS] = [37, 96];
const LAYER = "model.layers.0.mlp";

/** A BF16 weight with outliers, tiny values and a row of zeros, and the values that it holds. */
function weightOf(name: string, seed: number, shape = [ROWS, COLS]): [Stored, Float32Array] {
  const values = randomNormal(
    seed,
    shape.reduce((n, size) => n * size, 1),
  );
  values.fill(0, 0, COLS);
  for (let i = COLS; i < values.length; i += 61) values[i]! *= i % 2 === 0 ? 300 : 2 ** -20;
  const stored = valuesAs(name, "BF16", shape, values);
  return [stored, widen("bf16", new Uint16Array(stored.bytes.buffer))];
}

describe("MXFP4", () => {
  test.each([
    ["compressed-tensors-mxfp4", "even", 0, "_packed", "U8", "_scale", "U8"],
    ["deepseek-v4-fp4", "rceil", 1, "", "I8", "scale", "F8_E8M0"],
  ] as const)("%s", async (to, rounding, leastByte, codesEnd, codesType, scalesEnd, scalesType) => {
    const name = `${LAYER}.experts.0.up_proj.weight`;
    const [stored, values] = weightOf(name, 3);
    const { file, found } = await quantized(fileWith([stored]), to);
    const scalesName = scalesEnd === "scale" ? name.replace(/weight$/, "scale") : name + scalesEnd;
    expect([...found.keys()]).toEqual([name + codesEnd, scalesName]);
    const [codes, scales] = [...found.values()] as Stored[] as [Stored, Stored];
    expect(codes).toMatchObject({ dtype: codesType, shape: [ROWS, COLS / 2] });
    expect(scales).toMatchObject({ dtype: scalesType, shape: [ROWS, COLS / 32] });
    const want = mxfp4(values, rounding, leastByte);
    expect([...scales.bytes]).toEqual(want.scales);
    expect(nibbles(codes)).toEqual(want.codes);
    const back = await plainOf(file);
    expect([...back.keys()]).toEqual([name]);
    expect(bitsOf(floats(back.get(name)!))).toEqual(bitsOf(want.values));
  });

  test("deepseek-v4-fp4: what is no routed expert becomes FP8, in the same file", async () => {
    const names = [`${LAYER}.shared_experts.up_proj.weight`, "model.layers.0.self_attn.o_proj.weight"];
    const all = names.map((name, i) => weightOf(name, i)[0]);
    const { found } = await quantized(
      fileWith([...all, weightOf(`${LAYER}.experts.1.w1.weight`, 9)[0]]),
      "deepseek-v4-fp4",
    );
    for (const name of names) {
      expect(found.get(name)).toMatchObject({ dtype: "F8_E4M3", shape: [ROWS, COLS] });
      expect(found.get(name.replace(/weight$/, "scale"))).toMatchObject({ dtype: "F8_E8M0", shape: [1, 1] });
    }
    expect(found.get(`${LAYER}.experts.1.w1.weight`)).toMatchObject({ dtype: "I8" });
  });

  test("gpt-oss: stacks [experts, in, out] become blocks [experts, out, in / 32, 16]", async () => {
    const name = `${LAYER}.experts.gate_up_proj`;
    const [experts, ins, outs] = [3, 64, 96];
    const [stored, values] = weightOf(name, 4, [experts, ins, outs]);
    const [attention] = weightOf("model.layers.0.self_attn.o_proj.weight", 5);
    const { file, found, plan } = await quantized(fileWith([stored, attention]), "gpt-oss");
    const turned = Float32Array.from({ length: values.length }, (_, i) => {
      const [expert, out, at] = [Math.floor(i / ins / outs), Math.floor(i / ins) % outs, i % ins];
      return values[(expert * ins + at) * outs + out]!;
    });
    const want = mxfp4(turned, "rceil");
    expect(found.get(`${name}_blocks`)).toMatchObject({ dtype: "U8", shape: [experts, outs, ins / 32, 16] });
    expect(found.get(`${name}_scales`)).toMatchObject({ dtype: "U8", shape: [experts, outs, ins / 32] });
    expect(nibbles(found.get(`${name}_blocks`)!)).toEqual(want.codes);
    expect([...found.get(`${name}_scales`)!.bytes]).toEqual(want.scales);
    expect(found.get(attention.name)).toMatchObject({ dtype: "BF16" });
    expect(plan.tensors.map(({ action, shape }) => [action, shape])).toEqual([
      ["quantize", [experts, ins, outs]],
      ["copy", [ROWS, COLS]],
    ]);
    const back = (await plainOf(file)).get(name)!;
    expect(back.shape).toEqual([experts, ins, outs]);
    const backTurned = Float32Array.from({ length: values.length }, (_, i) => {
      const [expert, at, out] = [Math.floor(i / ins / outs), Math.floor(i / outs) % ins, i % outs];
      return want.values[(expert * outs + out) * ins + at]!;
    });
    expect(bitsOf(floats(back))).toEqual(bitsOf(backTurned));
  });

  test("from dialect to dialect codes and scales stay, bit for bit", async () => {
    const name = `${LAYER}.experts.0.up_proj.weight`;
    const first = await quantized(fileWith([weightOf(name, 6)[0]]), "compressed-tensors-mxfp4");
    const second = await quantized(first.file, "deepseek-v4-fp4");
    const third = await quantized(second.file, "compressed-tensors-mxfp4");
    expect([...second.found.values()].map(({ bytes }) => [...bytes])).toEqual(
      [...first.found.values()].map(({ bytes }) => [...bytes]),
    );
    expect(await third.file.arrayBuffer()).toEqual(await first.file.arrayBuffer());
  });
});

describe("NVFP4", () => {
  const names = ["gate_proj", "up_proj", "down_proj"].map((part) => `${LAYER}.${part}.weight`);

  describe.each([
    ["modelopt-nvfp4", "", "_scale_2", false],
    ["compressed-tensors-nvfp4", "_packed", "_global_scale", true],
  ] as const)("%s", (to, codesEnd, factorEnd, divides) => {
    test("codes, scales and one float32 for what loaders fuse", async () => {
      const weights = names.map((name, i) => weightOf(name, i));
      const { file, found } = await quantized(fileWith(weights.map(([stored]) => stored)), to);
      const amaxes = weights.map(([, values]) => amaxOf(values));
      // gate_proj and up_proj become one matrix in loaders.
      const together = [Math.max(amaxes[0]!, amaxes[1]!), Math.max(amaxes[0]!, amaxes[1]!), amaxes[2]!];
      const back = await plainOf(file);
      for (const [i, name] of names.entries()) {
        const factor = fround(divides ? 2688 / together[i]! : together[i]! / 2688);
        const want = nvfp4(weights[i]![1], factor, divides);
        const [codes, scales] = [found.get(name + codesEnd)!, found.get(`${name}_scale`)!];
        expect(floats(found.get(name + factorEnd)!)).toEqual(Float32Array.of(factor));
        expect(codes).toMatchObject({ dtype: "U8", shape: [ROWS, COLS / 2] });
        expect(scales).toMatchObject({ dtype: "F8_E4M3", shape: [ROWS, COLS / 16] });
        // A block that is not zero has the smallest scale at least.
        const least = want.scales.map((byte, b) =>
          byte === 0 && amaxOf(weights[i]![1].subarray(16 * b, 16 * b + 16)) > 0 ? 1 : byte,
        );
        expect([...scales.bytes]).toEqual(least);
        expect(least).toEqual(want.scales);
        expect(nibbles(codes)).toEqual(want.codes);
        expect(bitsOf(floats(back.get(name)!))).toEqual(bitsOf(want.values));
      }
    });

    test("a float32 at a place that its four bytes divide, whatever stands before it", async () => {
      const odd = [weightOf("a.weight", 1, [1, 48])[0], weightOf("b.weight", 2, [3, 16])[0]];
      const { file, found } = await quantized(fileWith(odd), to);
      for (const { dtype, start } of found.values()) if (dtype === "F32") expect(start % 4).toBe(0);
      expect((await plainOf(file)).size).toBe(2);
    });

    test("what is stored so already keeps its bytes", async () => {
      const first = await quantized(fileWith([weightOf(names[0]!, 1)[0]]), to);
      const second = await quantized(first.file, to);
      expect(second.plan.tensors.map(({ action, reason }) => [action, reason])).toEqual([
        ["copy", "stored so already"],
      ]);
      for (const [name, { bytes }] of first.found)
        expect([...second.found.get(name)!.bytes]).toEqual([...bytes]);
    });

    test("strips of a large weight have one float32", async () => {
      const [stored, values] = weightOf("a.weight", 7, [1100, 1024]);
      const { found } = await quantized(fileWith([stored]), to);
      const factor = fround(divides ? 2688 / amaxOf(values) : amaxOf(values) / 2688);
      // Rows at the end of the first strip, and all of the second.
      const from = 1000 * 1024;
      const want = nvfp4(values.subarray(from), factor, divides).codes;
      expect(nibbles(found.get(`a.weight${codesEnd}`)!).subarray(from)).toEqual(want);
    });

    test("FP8 is read, and made anew", async () => {
      const fp8 = await quantized(fileWith([weightOf(names[0]!, 1)[0]]), "deepseek-v3");
      const values = floats((await plainOf(fp8.file)).get(names[0]!)!);
      const { found } = await quantized(fp8.file, to);
      const factor = fround(divides ? 2688 / amaxOf(values) : amaxOf(values) / 2688);
      expect(nibbles(found.get(names[0]! + codesEnd)!)).toEqual(nvfp4(values, factor, divides).codes);
    });

    test("NaN is refused with its place", async () => {
      const values = randomNormal(1, 32 * 32);
      values[5 * 32 + 20] = Number.NaN;
      const refused = quantized(fileWith([valuesAs("a.weight", "F32", [32, 32], values)]), to);
      await expect(refused).rejects.toThrow("row 5, column 16");
    });
  });
});
