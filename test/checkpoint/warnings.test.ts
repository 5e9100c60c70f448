import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type DialectName, dialects } from "../../src/checkpoint/dialects/index.ts";
import { chooseFiles, openCheckpoint } from "../../src/checkpoint/plan/folder.ts";
import { planQuantize, type QuantizeOptions } from "../../src/checkpoint/plan/quantize.ts";
import { warningsOf } from "../../src/checkpoint/plan/warnings.ts";
import { checkpointOf, fileWith, tensor, valuesAs } from "../support/checkpoint-files.ts";

const plain = (name: string, rows: number, cols: number) =>
  valuesAs(name, "BF16", [rows, cols], new Float32Array(rows * cols).fill(1));

test("sides that are no multiple of 128 are told, for square blocks", async () => {
  const checkpoint = await checkpointOf({
    m: fileWith([plain("a.weight", 256, 704), plain("b.weight", 128, 128), plain("c.weight", 64, 128)]),
  });
  const [warning, ...more] = warningsOf(planQuantize(checkpoint, {}), "deepseek-v3.1");
  expect(warning).toMatch(/^2 weights, such as a.weight \[256, 704\], have sides .* CPU/);
  expect(more).toEqual([]);
  const rows = "compressed-tensors-mxfp4";
  expect(warningsOf(planQuantize(checkpoint, { to: rows }), rows)).toEqual([]);
});

test("layers that readers fuse are told where they are stored in two ways", async () => {
  const names = ["q", "k", "v"].map((part) => `a.${part}_proj.weight`);
  const experts = ["0.up", "0.down", "1.up", "1.down"].map((part) => `a.experts.${part}_proj.weight`);
  const checkpoint = await checkpointOf({
    m: fileWith([...names, ...experts, "a.o_proj.weight"].map((name) => plain(name, 128, 128))),
  });
  const told = (options: QuantizeOptions, to: DialectName = "deepseek-v3.1") =>
    warningsOf(planQuantize(checkpoint, { ...options, to }), to).join();
  expect(told({})).toBe("");
  expect(told({ exclude: ["*.o_proj.weight"] })).toBe("");
  expect(told({ exclude: names })).toBe("");
  expect(told({ exclude: ["*.k_proj.weight"] })).toMatch(
    /such as a.q_proj.weight \(F8_E4M3\) and a.k_proj.weight \(as it was\): they refuse/,
  );
  expect(told({ exclude: ["*.experts.1.*"] })).toMatch(/0.up_proj.weight .*1.up_proj.weight \(as it was/);
  const mixed = [{ pattern: "*.v_proj.weight", scheme: "mxfp8" }];
  expect(told({ overrides: mixed }, "compressed-tensors-mixed")).toMatch(
    /q_proj.weight \(fp8\) .* \(mxfp8\)/,
  );
});

test("transformers does not read ModelOpt, and a dialect that finds nothing to store says so", async () => {
  const checkpoint = await checkpointOf({ m: fileWith([plain("a.weight", 128, 128)]) });
  const modelopt = warningsOf(planQuantize(checkpoint, { to: "modelopt" }), "modelopt");
  expect(modelopt.join()).toMatch(/transformers loads .* wrong/);
  const [nothing] = warningsOf(planQuantize(checkpoint, { to: "gpt-oss" }), "gpt-oss");
  expect(nothing).toMatch(/Nothing was quantised/);
});

test("weights whose scale was taken as 1 are marked, and no others", async () => {
  const codes = (name: string) => tensor(name, "F8_E4M3", [32, 32], new Uint8Array(1024).fill(0x38));
  const scale = tensor("b.weight_scale", "F32", [], Float32Array.of(2));
  const checkpoint = await checkpointOf({ m: fileWith([codes("a.weight"), codes("b.weight"), scale]) });
  const { tensors } = planQuantize(checkpoint, { missingScale: "one" });
  expect(tensors.filter(({ scaleTakenAsOne }) => scaleTakenAsOne).map(({ name }) => name)).toEqual([
    "a.weight",
  ]);
});

test("--files chooses among models of a folder, with the index that belongs to them", async () => {
  const index = (file: string) =>
    new Blob([JSON.stringify({ metadata: {}, weight_map: { "a.weight": file } })]);
  const files = new Map<string, Blob>([
    ["config.json", new Blob(["{}"])],
    ["model-00001-of-00001.safetensors", fileWith([plain("a.weight", 4, 4)])],
    ["model.safetensors.index.json", index("model-00001-of-00001.safetensors")],
    ["consolidated.safetensors", fileWith([plain("b.weight", 4, 4)])],
  ]);
  const { files: chosen, leftOut } = chooseFiles(files, ["consolidated*"]);
  expect(leftOut).toEqual(["model-00001-of-00001.safetensors", "model.safetensors.index.json"]);
  const { checkpoint } = await openCheckpoint(chosen);
  expect(checkpoint.shards.map(({ name }) => name)).toEqual(["consolidated.safetensors"]);
  expect([...chooseFiles(files, ["model-*"]).files.keys()]).toContain("model.safetensors.index.json");
  expect(() => chooseFiles(files, ["other*"])).toThrow(/files: "other\*"/);
});

const docs = readFileSync(new URL("../../docs/checkpoints.md", import.meta.url), "utf8");

test("the documentation lists every dialect, and who reads it", () => {
  for (const name of Object.keys(dialects)) {
    const rows = docs.split("\n").filter((line) => line.startsWith(`| \`${name}\``));
    expect(rows, name).toHaveLength(2);
    // The second table has a cell for each reader.
    expect(rows[1]!.split("|")).toHaveLength(8);
  }
});
