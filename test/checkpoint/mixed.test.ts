import { beforeAll, expect, test } from "vitest";
import type { DialectName } from "../../src/checkpoint/dialects/index.ts";
import type { Override } from "../../src/checkpoint/dialects/overrides.ts";
import { inspect } from "../../src/checkpoint/measure/inspect.ts";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { documentsOf, openCheckpoint } from "../../src/checkpoint/plan/folder.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { load } from "../../src/load.ts";
import { checkpointOf, fileWith, run, tensorsOf, valuesAs } from "../support/checkpoint-files.ts";
import { randomNormal } from "../support/random.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await load();
});

const NAMES = ["a", "b", "c", "d", "e", "mlp.experts.0.up_proj", "mlp.experts.1.up_proj"];
const source = fileWith(
  NAMES.map((name, i) => valuesAs(`l.0.${name}.weight`, "BF16", [256, 128], randomNormal(i, 256 * 128))),
);

/** What uniform dialects call the formats. */
const UNIFORM: Readonly<Record<string, DialectName>> = {
  nvfp4: "compressed-tensors-nvfp4",
  mxfp4: "compressed-tensors-mxfp4",
  mxfp8: "compressed-tensors",
};
const OVERRIDES: Override[] = [
  { pattern: "l.0.a.weight", scheme: "nvfp4" },
  { pattern: "l.0.b.weight", scheme: "mxfp4" },
  { pattern: "l.0.c.weight", scheme: "mxfp8" },
  { pattern: "l.0.d.weight", scheme: "keep" },
  { pattern: "*.experts.*", scheme: "mxfp4" },
];

async function made(to: DialectName, overrides: readonly Override[] = []) {
  const opened = await openCheckpoint(
    new Map([
      ["model.safetensors", source],
      ["config.json", new Blob(["{}"])],
    ]),
  );
  const plan = planQuantize(opened.checkpoint, { to, overrides });
  const { files } = await run(plan, [source], engine);
  const [document] = documentsOf(opened, plan, { kind: "quantize", to });
  return { plan, file: files[0]!, label: JSON.parse(document!.text).quantization_config };
}

test("each weight is stored as its own format stores it", async () => {
  const { plan, file } = await made("compressed-tensors-mixed", OVERRIDES);
  const found = await tensorsOf(file);
  for (const { name, format } of plan.tensors) {
    const module = name.slice(0, -".weight".length);
    const to = UNIFORM[format ?? ""];
    if (to === undefined) continue;
    const wanted = [...(await tensorsOf((await made(to)).file))].filter(([n]) => n.startsWith(`${module}.`));
    expect(wanted.length).toBeGreaterThan(1);
    for (const [tensor, { bytes, dtype, shape }] of wanted)
      expect(found.get(tensor), tensor).toMatchObject({ bytes, dtype, shape });
  }
  // FP8 in 128x128 is what nobody named; its codes are DeepSeek's.
  const deepseek = await tensorsOf((await made("deepseek-v3.1")).file);
  expect(found.get("l.0.e.weight")!.bytes).toEqual(deepseek.get("l.0.e.weight")!.bytes);
  expect(found.get("l.0.e.weight_scale")!.bytes).toEqual(deepseek.get("l.0.e.weight_scale_inv")!.bytes);
  expect(found.get("l.0.d.weight")!.dtype).toBe("BF16");
});

test("config.json tells the format of each module, all experts of a layer by one pattern", async () => {
  const { label } = await made("compressed-tensors-mixed", OVERRIDES);
  expect(label).toMatchObject({
    quant_method: "compressed-tensors",
    format: "mixed-precision",
    ignore: ["l.0.d"],
  });
  const groups = Object.values(label.config_groups) as {
    format: string;
    targets: string[];
    weights: object;
  }[];
  expect(Object.fromEntries(groups.map(({ format, targets }) => [format, targets]))).toEqual({
    "nvfp4-pack-quantized": ["l.0.a"],
    "mxfp4-pack-quantized": ["l.0.b", "re:^l\\.0\\.mlp\\.experts\\.\\d+\\.up_proj$"],
    "mxfp8-quantized": ["l.0.c"],
    "float-quantized": ["l.0.e"],
  });
  const [pattern] = groups.flatMap(({ targets }) => targets.filter((target) => target.startsWith("re:")));
  expect(new RegExp(pattern!.slice(3)).test("l.0.mlp.experts.17.up_proj")).toBe(true);
  expect(groups.find(({ format }) => format === "float-quantized")!.weights).toMatchObject({
    strategy: "block",
    block_structure: [128, 128],
  });
});

test("it is read again, every weight", async () => {
  const { file, plan } = await made("compressed-tensors-mixed", OVERRIDES);
  const checkpoint = await checkpointOf({ m: file });
  const { files } = await run(planDequantize(checkpoint, { dtype: "f32" }), [file], engine);
  const found = await tensorsOf(files[0]!);
  expect([...found.keys()].sort()).toEqual(plan.tensors.map(({ name }) => name).sort());
  const { label } = await made("compressed-tensors-mixed", OVERRIDES);
  const labelled = { ...checkpoint, config: { quantization_config: label } };
  expect((await inspect(labelled, [file])).dialect).toBe("compressed-tensors-mixed");
});

test("a format that the dialect does not store is one clear error", async () => {
  await expect(made("deepseek-v3.1", OVERRIDES)).rejects.toThrow(
    /"l.0.a.weight".*deepseek-v3.1 stores one format.*"nvfp4".*--to compressed-tensors-mixed/s,
  );
  const wrong = [{ pattern: "*", scheme: "fp9" }];
  await expect(made("compressed-tensors-mixed", wrong)).rejects.toThrow(
    /"keep", nvfp4, mxfp4, fp8, mxfp8.*"fp9"/s,
  );
});
