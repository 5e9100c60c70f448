import { beforeAll, describe, expect, test } from "vitest";
import * as checkpoint from "../../src/checkpoint/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { cosine, sqnr } from "../../src/engine/precision.ts";
import * as external from "../../src/external.ts";
import { load } from "../../src/load.ts";
import type { Model } from "../../src/model/model.ts";
import { openModel } from "../../src/model/open.ts";
import * as node from "../../src/node.ts";
import * as plainJs from "../../src/plain-js.ts";
import { bf16, f16 } from "../../src/tensor/halves.ts";
import { schemes } from "../../src/tensor/schemes.ts";
import { createTrainer } from "../../src/train/create.ts";
import { stochasticCast } from "../../src/train/stochastic-cast.ts";
import type { Trainer } from "../../src/train/trainer.ts";

// biome-ignore lint/suspicious/noExplicitAny: arguments that the types forbid are what is tested
type Anything = any;

const config = {
  architectures: ["LlamaForCausalLM"],
  hidden_size: 64,
  intermediate_size: 64,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 2,
  head_dim: 32,
  vocab_size: 16,
  max_position_embeddings: 32,
  rms_norm_eps: 1e-6,
  tie_word_embeddings: true,
};
const values = new Float32Array(32);
const ids = Int32Array.from({ length: 18 }, (_, i) => i % 16);

let engine: Engine;
let files: Map<string, Blob>;
let trainer: Trainer;
let model: Model;
let opened: Anything;

beforeAll(async () => {
  engine = await load();
  trainer = await createTrainer({ config, seed: 1 }, { recipe: "f32" });
  files = trainer.files();
  model = await openModel(files);
  opened = await checkpoint.openCheckpoint(files);
});

/** Whatever a call with a wrong argument throws, at once or later, has to be a clear error of ours. */
const CALLS: [call: string, message: RegExp, action: () => unknown][] = [
  [
    "dequantize, options in the place of a type",
    /type: expected "f32", "bf16" or "f16", got Object\. Pass/,
    () => engine.dequantize(engine.quantize(values, [1, 32], "mxfp8"), { out: values } as Anything),
  ],
  [
    "encode, both the wrong way round",
    /format: .* got Float32Array/,
    () => engine.encode("e4m3" as Anything, values as Anything),
  ],
  ["createTrainer(undefined)", /model: expected a Map .* got undefined/, () => train(undefined)],
  ["createTrainer(a path)", /got string/, () => train("model/")],
  ["createTrainer({ config })", /got an object of config/, () => train({ config })],
  ["createTrainer({ config, seed, sede })", /config, seed, sede/, () => train({ config, seed: 1, sede: 2 })],
  ["createTrainer, half a recipe", /all six operands/, () => fresh({ recipe: { forward: {} } })],
  ["createTrainer, betas as text", /two numbers/, () => fresh({ betas: "x" })],
  ["createTrainer, counts as text", /true or false, got yes/, () => fresh({ counts: "yes" })],
  ["createTrainer, schedule as a number", /a function of the step/, () => fresh({ schedule: 1 })],
  ["createTrainer, lora as a number", /lora: options: expected an object/, () => fresh({ lora: 8 })],
  ["createTrainer, lora misspelt", /got alhpa/, () => fresh({ lora: { rank: 8, alhpa: 1 } })],
  ["createTrainer, one target", /a list of some of/, () => fresh({ lora: { rank: 8, targets: "q_proj" } })],
  ["step()", /expected an Int32Array/, () => (trainer.step as Anything)()],
  ["step, no shape", /for undefined/, () => (trainer.step as Anything)(ids)],
  [
    "step, microBatches",
    /trainer.step: microBatches: expected a divisor/,
    () => trainer.step(ids, [2, 9], 3),
  ],
  [
    "step, a token",
    /token 0: .* Use the tokenizer/,
    () =>
      trainer.step(
        ids.map(() => 99),
        [2, 9],
      ),
  ],
  ["stochasticCast, misspelt", /got sed/, () => cast({ sed: 1 })],
  ["logits()", /the ids of tokens.* got undefined/, () => (model.logits as Anything)()],
  ["logits, misspelt", /got form/, () => model.logits([1], { form: 1 } as Anything)],
  ["logits, from", /from 0 to 1, got -1/, () => model.logits([1], { from: -1 })],
  ["hidden(null)", /the ids of tokens/, () => model.hidden(null as Anything)],
  ["embed(a text)", /a list of texts.* got string/, () => model.embed("abc" as Anything)],
  ["planQuantize()", /a checkpoint.* got undefined/, () => (checkpoint.planQuantize as Anything)()],
  ["planQuantize(opened)", /const \{ checkpoint \}/, () => checkpoint.planQuantize(opened)],
  ["planQuantize, one pattern", /exclude: expected a list/, () => plan({ exclude: "x" })],
  ["planDequantize, missingScale", /"error" or "one"/, () => dequantize({ missingScale: "two" })],
  ["documentsOf, direction", /direction.kind/, () => documents({ kind: "quantise" })],
  ["fileStream, misspelt", /got onprogress/, () => stream({ onprogress: () => {} })],
  ["inspect(opened)", /const \{ checkpoint \}/, () => checkpoint.inspect(opened, null)],
  [
    "inspect, misspelt",
    /got missing/,
    () => checkpoint.inspect(opened.checkpoint, null, { missing: 1 } as Anything),
  ],
  ["compareCheckpoints, no engine", /engine: expected an engine/, () => compare(opened, opened)],
  ["compareCheckpoints()", /a.checkpoint: expected a checkpoint/, () => compare()],
  ["readCheckpoint([])", /a Map of sources/, () => checkpoint.readCheckpoint([] as Anything)],
  [
    "openModel, a signal",
    /openModel: signal: expected an AbortSignal, got number/,
    () => open({ signal: 5 }),
  ],
  ["openModel, onProgress", /onProgress: expected a function, got object/, () => open({ onProgress: {} })],
  ["createTrainer, a signal", /signal: expected an AbortSignal/, () => fresh({ signal: {} })],
  ["logits, a signal", /logits: signal: expected/, () => model.logits([1], { signal: 5 } as Anything)],
  ["inspect, a signal", /inspect: signal: expected/, () => inspect({ signal: true })],
  ["compareCheckpoints, onTensor", /onTensor: expected a function/, () => compareThem({ onTensor: 1 })],
  ["convertCheckpoint, onProgress", /onProgress: expected a function/, () => convert({ onProgress: 1 })],
  ["fileStream, onProgress", /onProgress: expected a function/, () => stream({ onProgress: 1 })],
  ["fileStream, sources", /fileStream: sources: expected a list/, () => stream({ sources: undefined })],
  ["fileStream, convert", /convert: expected a converter/, () => stream({ convert: undefined })],
  ["fileStream, measure", /"all" or "sample"/, () => stream({ measure: "some" })],
  ["fileStream, file", /one of the files of a plan/, () => stream({}, {})],
  ["localConverter()", /engine: expected an engine/, () => (checkpoint.localConverter as Anything)()],
  [
    "localConverter(engine)",
    /expected a list of sources/,
    () => (checkpoint.localConverter as Anything)(engine),
  ],
  ["summarize()", /plan: expected a plan.* got undefined/, () => (checkpoint.summarize as Anything)()],
  ["summarize(plan)", /measured: expected a Map/, () => (checkpoint.summarize as Anything)(plan({}))],
  ["warningsOf()", /plan: expected a plan/, () => (checkpoint.warningsOf as Anything)()],
  ["warningsOf(plan)", /to: expected deepseek-v3/, () => (checkpoint.warningsOf as Anything)(plan({}))],
  ["documentsOf()", /opened.checkpoint: expected/, () => (checkpoint.documentsOf as Anything)()],
  ["createPool()", /at least one port, got undefined/, () => (checkpoint.createPool as Anything)()],
  ["createPool([])", /at least one port, got none/, () => checkpoint.createPool([])],
  ["openUrl()", /openUrl: url: expected an address.* got undefined/, () => url(undefined)],
  ["openUrl(a path)", /got "model.safetensors"/, () => url("model.safetensors")],
  ["openUrl, misspelt", /got header/, () => url("https://127.0.0.1:1/", { header: {} })],
  ["openUrl, a signal", /signal: expected/, () => url("https://127.0.0.1:1/", { signal: 5 })],
  ["openCached()", /openCached: url: expected an address/, () => (checkpoint.openCached as Anything)()],
  ["removeCached(5)", /removeCached: url: expected/, () => checkpoint.removeCached(5 as Anything)],
  ["openFile()", /path: expected .* got undefined/, () => (node.openFile as Anything)()],
  ["openFile(a URL)", /got a URL object/, () => node.openFile(new URL("file:///tmp/a") as Anything)],
  ["openFolder()", /path: expected/, () => (node.openFolder as Anything)()],
  ["createFile()", /path: expected/, () => (node.createFile as Anything)()],
  ["external.load()", /load: wasm: expected/, () => (external.load as Anything)({})],
  ["external.load, misspelt", /options named wasm, got wsm/, () => external.load({ wsm: 1 } as Anything)],
  ["js.load, variant", /no options, got variant/, () => plainJs.load({ variant: "baseline" } as Anything)],
  ["resident, an option", /resident: options: expected no options, got x/, () => resident({ x: 1 })],
  ["resident, a list of options", /resident: options: .* got a plain array/, () => resident([1])],
  ["read, misspelt", /read: options: .*out, got oot/, () => resident().read({ oot: 1 } as Anything)],
  ["compare, misspelt", /compare: options: .*groupSums, got part/, () => compareSome({ part: 1 })],
  [
    "compare, groupSums",
    /groupSums: expected a Float64Array, got Float32Array/,
    () => parts(new Float32Array(4)),
  ],
  ["compare, parts of a block", /multiples of 16, got 8 columns/, () => parts(new Float64Array(4), 8)],
  ["compare, another shape", /compare: result: .*\[2, 16\], got \[1, 32\]/, () => compareShapes([1, 32])],
  [
    "compare, half a tensor",
    /compare: values: codes: expected a Uint8Array/,
    () => compareShapes([2, 16], {}),
  ],
  [
    "load, workers alone",
    /load: workers: expected threads beside it/,
    () => load({ workers: port } as Anything),
  ],
  ["openModel, workers alone", /openModel: workers: expected threads/, () => open({ workers: port })],
  ["createTrainer, workers alone", /createTrainer: workers: .* threads/, () => fresh({ workers: port })],
  ["sqnr()", /sqnr: precision: .* got undefined/, () => (sqnr as Anything)()],
  ["cosine(a number)", /cosine: precision: .* got number/, () => cosine(5 as Anything)],
  ["bf16()", /bf16: bits: expected a Uint16Array, got undefined/, () => (bf16 as Anything)()],
  ["f16([1])", /f16: bits: expected a Uint16Array, got a plain array/, () => f16([1] as Anything)],
  ["files(a text)", /withOptimizer: expected true or false/, () => trainer.files("yes" as Anything)],
];

const resident = (options?: Anything) => engine.resident([1, 1], options);
const compareSome = (options: Anything) => engine.compare(values, values, options);
const parts = (given: Anything, blockCols = 16) => {
  const tensor = engine.quantize(values, [2, 16], { ...schemes.mxfp8, block: [1, blockCols] });
  return engine.compare(values, tensor, { groupSums: given });
};
const { port1: port } = new MessageChannel();
const compareShapes = (shape: number[], broken?: object) => {
  const [x, y] = [[2, 16], shape].map((shape) => engine.quantize(values, shape, schemes.mxfp8));
  return engine.compare({ ...x!, ...(broken && { codes: undefined as Anything }) }, y!);
};
const train = (...given: unknown[]) => (createTrainer as Anything)(...given);
const fresh = (options: Anything) => train({ config, seed: 1 }, options);
const cast = (words: Anything) => stochasticCast()(new Float32Array(1), "e4m3", words);
const plan = (options: Anything) => checkpoint.planQuantize(opened.checkpoint, options);
const dequantize = (options: Anything) => checkpoint.planDequantize(opened.checkpoint, options);
const documents = (direction: Anything) => checkpoint.documentsOf(opened, plan({}), direction);
const compare = (...given: unknown[]) => (checkpoint.compareCheckpoints as Anything)(...given);
const stream = (options: object, file: Anything = plan({}).files[0]) => {
  const { sources } = opened;
  const convert = checkpoint.localConverter(engine, sources);
  return checkpoint.fileStream(file, { sources, convert, ...options });
};
const open = (options: Anything) => openModel(files, options);
const url = (address: Anything, options?: Anything) => checkpoint.openUrl(address, options);
const inspect = (options: Anything) => checkpoint.inspect(opened.checkpoint, null, options);
const compareThem = (options: Anything) => checkpoint.compareCheckpoints(opened, opened, engine, options);
const convert = (options: Anything) =>
  checkpoint.convertCheckpoint(files, { engine, to: "mxfp8", ...options });

describe("wrong arguments of every entry", () => {
  test.each(CALLS)("%s", async (_, message, action) => {
    const thrown = await (async () => action())().catch((error: unknown) => error);
    expect(thrown).toMatchObject({ name: "BlockscaleError", message: expect.stringMatching(message) });
  });

  test("a signal that is aborted already, and a trainer after its end", async () => {
    await expect(fresh({ signal: AbortSignal.abort() })).rejects.toThrow(/aborted/);
    const ended = await fresh({ recipe: "f32" });
    await ended.close();
    await expect(ended.step(ids, [2, 9])).rejects.toThrow(/one that was closed/);
  });
});
