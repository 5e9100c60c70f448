import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { openModel } from "../../src/model/open.ts";
import { createTrainer } from "../../src/train/create.ts";
import { type TrainerOptions, warmupCosine } from "../../src/train/options.ts";
import { type RecipeName, recipes } from "../../src/train/recipes.ts";
import { decibels } from "../support/models.ts";
import { initial, SETTINGS, SHAPE, tiny, tokens, WIDTH } from "../support/training.ts";

describe("memory", () => {
  test("layers that are computed once more give the same bits, in less memory", async () => {
    const config = tiny({ num_hidden_layers: 6 });
    const ids = Int32Array.from({ length: 8 * 65 }, (_, i) => (i * i + 3 * i) % 40);
    const run = async (options: TrainerOptions) => {
      const trainer = await createTrainer({ config, seed: 4 }, { ...SETTINGS, ...options });
      const steps = [await trainer.step(ids, [8, 65]), await trainer.step(ids, [8, 65])];
      const weights = trainer.names.map((name) => trainer.weight(name));
      let bytes = 0;
      if (trainer.threads === 1)
        await trainer.observe(ids, [8, 65], (program) => {
          bytes = program.buffer.byteLength;
        });
      await trainer.close();
      return { steps, weights, bytes };
    };
    const kept = await run({});
    const again = await run({ recompute: true });
    expect(again.steps).toEqual(kept.steps);
    expect(again.weights).toEqual(kept.weights);
    expect(again.bytes).toBeLessThan(0.75 * kept.bytes);
    const threads = await run({ recompute: true, threads: 2 });
    expect(threads.weights).toEqual(kept.weights);
  });

  test("means in bfloat16 take half the room, learn alike and go on to the same bits", async () => {
    const ids = await tokens();
    const step = (n: number) => ids.subarray(n * WIDTH, (n + 1) * WIDTH);
    const options: TrainerOptions = { ...SETTINGS, moments: "bf16" };
    const trainer = await createTrainer(initial(), options);
    const plain = await createTrainer(initial(), SETTINGS);
    let [loss, other] = [0, 0];
    for (let n = 0; n < 20; n++) {
      loss = (await trainer.step(step(n), SHAPE)).loss;
      other = (await plain.step(step(n), SHAPE)).loss;
    }
    expect(Math.abs(loss / other - 1)).toBeLessThan(0.03);
    const files = trainer.files(true);
    const size = (from: ReadonlyMap<string, Blob>) => from.get("optimizer.safetensors")!.size;
    expect(size(files)).toBeLessThan(0.51 * size(plain.files(true)));
    const again = await createTrainer(files, options);
    expect(await again.step(step(20), SHAPE)).toEqual(await trainer.step(step(20), SHAPE));
    for (const name of trainer.names) expect(again.weight(name)).toEqual(trainer.weight(name));
    await expect(createTrainer(files, SETTINGS)).rejects.toThrow(/expected .* F32, got BF16/s);
  });
});

describe("threads", () => {
  test.each([
    ["a batch of whole chunks", "deepseek", { hidden_size: 64, intermediate_size: 256 }, [4, 65]],
    ["a ragged number of tokens", "mxfp8", {}, [3, 38]],
    ["fewer tokens than a chunk", "f32", {}, [1, 9]],
    ["gradients rounded by chance", "nvfp4", {}, [3, 38]],
    ["128x128 gradients", "deepseek-square", { hidden_size: 64, intermediate_size: 256 }, [5, 65]],
  ] as const)("of any number give the same bits: %s", async (_, recipe, change, shape) => {
    const config = tiny(change);
    const ids = Int32Array.from({ length: shape[0] * shape[1] }, (_, i) => (i * i + 5 * i) % 40);
    const results = [];
    for (const threads of [1, 2, 3]) {
      const trainer = await createTrainer(
        { config, seed: 2 },
        { ...SETTINGS, recipe, threads, counts: true },
      );
      expect(trainer.threads).toBe(threads);
      const losses = [];
      for (let step = 0; step < 3; step++) losses.push(await trainer.step(ids, shape));
      const parts = await trainer.step(ids, shape, shape[0] % 2 === 0 ? 2 : 1);
      const loss = await trainer.loss(ids.subarray(0, shape[1]), [1, shape[1]]);
      const tensors = trainer.names.map((name) => [trainer.gradient(name), trainer.weight(name)]);
      results.push({ losses, parts, loss, tensors, ranges: trainer.ranges() });
      await trainer.close();
    }
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
  });

  test("go on from files, and tell where a loss went wrong", async () => {
    const ids = Int32Array.from({ length: 2 * 33 }, (_, i) => (i * 7) % 40);
    const one = await createTrainer({ config: tiny(), seed: 3 }, SETTINGS);
    await one.step(ids, [2, 33]);
    const two = await createTrainer(one.files(true), { ...SETTINGS, threads: 2 });
    expect(await two.step(ids, [2, 33])).toEqual(await one.step(ids, [2, 33]));
    await two.close();
    await expect(two.step(ids, [2, 33])).rejects.toThrow(/was closed/);
    const config = tiny({ initializer_range: 1e20 });
    const wild = await createTrainer({ config, seed: 1 }, { recipe: "f32", threads: 2 });
    await expect(wild.step(ids, [2, 33])).rejects.toThrow(/the first tensor that holds NaN or Inf is/);
    await wild.close();
    await expect(createTrainer({ config: tiny(), seed: 1 }, { threads: 0 })).rejects.toThrow(/threads/);
  });
});

describe("a trainer", () => {
  test("goes on from its files to the same bits", async () => {
    const ids = await tokens();
    const step = (n: number) => ids.subarray(n * WIDTH, (n + 1) * WIDTH);
    const schedule = warmupCosine(2, 8);
    const through = await createTrainer(initial(), { ...SETTINGS, schedule });
    let files = new Map<string, Blob>();
    const losses: number[] = [];
    for (let n = 0; n < 6; n++) {
      losses.push((await through.step(step(n), SHAPE)).loss);
      if (n === 2) files = through.files(true);
    }
    const again = await createTrainer(files, { ...SETTINGS, schedule });
    expect(again.steps).toBe(3);
    for (let n = 3; n < 6; n++) expect((await again.step(step(n), SHAPE)).loss).toBe(losses[n]);
    for (const name of through.names) expect(again.weight(name)).toEqual(through.weight(name));
  });

  test("learns, and what it learned runs in openModel with the loss that it told", async () => {
    const ids = await tokens();
    const config = JSON.parse(await initial().get("config.json")!.text());
    const trainer = await createTrainer({ config, seed: 1 }, { ...SETTINGS, recipe: "deepseek" });
    const first = (await trainer.step(ids.subarray(0, WIDTH), SHAPE)).loss;
    for (let n = 1; n < 40; n++) await trainer.step(ids.subarray(n * WIDTH, (n + 1) * WIDTH), SHAPE);
    const plain = await createTrainer(trainer.files(), { recipe: "f32" });
    const row = ids.subarray(0, 65);
    const loss = await plain.loss(row, [1, 65]);
    expect(loss).toBeLessThan(first - 1.5);
    const model = await openModel(trainer.files());
    const logits = await model.logits(row.subarray(0, 64));
    let sum = 0;
    for (let t = 0; t < 64; t++) {
      const one = logits.subarray(t * 256, (t + 1) * 256);
      const total = one.reduce((a, x) => a + Math.exp(x), 0);
      sum += Math.log(total) - one[row[t + 1]!]!;
    }
    expect(sum / 64).toBeCloseTo(loss, 4);
    await model.close();
  });

  test("the same seed gives the same weights, another one others", async () => {
    const one = await createTrainer({ config: tiny(), seed: 3 });
    const same = await createTrainer({ config: tiny(), seed: 3 });
    const other = await createTrainer({ config: tiny(), seed: 4 });
    const name = "model.layers.0.mlp.up_proj.weight";
    expect(same.weight(name)).toEqual(one.weight(name));
    expect(other.weight(name)).not.toEqual(one.weight(name));
    const values = one.weight(name);
    const deviation = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
    expect(Math.abs(deviation - 0.2)).toBeLessThan(0.02);
  });

  test("tells what rounding does, and where a loss went wrong", async () => {
    const trainer = await createTrainer(
      { config: tiny(), seed: 1 },
      { recipe: "mxfp8-floor", counts: true, learningRate: 0.01 },
    );
    const ids = Int32Array.from({ length: 2 * 33 }, (_, i) => (i * 7) % 40);
    await trainer.step(ids, [2, 33]);
    const ranges = trainer.ranges();
    expect([...ranges.keys()]).toContain("0.mlp.down_proj");
    for (const record of ranges.values())
      for (const counts of Object.values(record)) {
        expect(counts.count).toBeGreaterThan(0);
        expect(counts.amax).toBeGreaterThan(0);
      }
    // The OCP specification's scales cut the largest values of some blocks.
    expect([...ranges.values()].reduce((sum, { w }) => sum + w.saturated, 0)).toBeGreaterThan(0);
    expect(trainer.ranges().size).toBe(0);
    const wild = await createTrainer(
      { config: tiny({ initializer_range: 1e20 }), seed: 1 },
      { recipe: "f32" },
    );
    await expect(wild.step(ids, [2, 33])).rejects.toThrow(/the first tensor that holds NaN or Inf is/);
  });

  test("refuses what cannot be", async () => {
    const trainer = await createTrainer({ config: tiny(), seed: 1 });
    const ids = new Int32Array(18);
    await expect(trainer.step(ids, [2, 8])).rejects.toThrow(/\[batch, length \+ 1\]/);
    await expect(trainer.step(ids, [18, 1])).rejects.toThrow(/\[batch/);
    await expect(trainer.step(ids, [2, 9], 3)).rejects.toThrow(/microBatches/);
    await expect(trainer.step(new Int32Array(18).fill(40), [2, 9])).rejects.toThrow(/token 0/);
    await expect(trainer.step(new Int32Array(70), [1, 70])).rejects.toThrow(/at most 64/);
    expect(() => trainer.gradient("x")).toThrow(/model.embed_tokens.weight/);
    for (const options of [{ recipe: "fp3" }, { learningRate: -1 }, { betas: [1, 2] }, { clip: Number.NaN }])
      await expect(createTrainer({ config: tiny(), seed: 1 }, options as never)).rejects.toThrow(
        /createTrainer/,
      );
    await expect(createTrainer({ config: tiny(), seed: 0.5 })).rejects.toThrow(/seed/);
    const biased = JSON.parse(
      readFileSync(new URL("../model/models/gpt_oss/config.json", import.meta.url), "utf8"),
    );
    await expect(createTrainer({ config: biased, seed: 1 })).rejects.toThrow(/Train one of these/);
    const state = (await createTrainer({ config: tiny(), seed: 1 }))
      .files(true)
      .get("optimizer.safetensors")!;
    const other = (await createTrainer({ config: tiny({ intermediate_size: 64 }), seed: 1 })).files();
    other.set("optimizer.safetensors", state);
    await expect(createTrainer(other)).rejects.toThrow(/of this model/);
  });

  test("the gradients of FP4 are further from float32's than those of FP8", async () => {
    const ids = (await tokens()).subarray(0, WIDTH);
    const gradientsOf = async (recipe: RecipeName) => {
      const trainer = await createTrainer(initial(), { ...SETTINGS, recipe });
      await trainer.step(ids, SHAPE);
      return trainer.gradient("model.layers.0.mlp.gate_proj.weight");
    };
    const exact = await gradientsOf("f32");
    const near = async (recipe: RecipeName) => decibels(exact, await gradientsOf(recipe));
    const [fp8, fp4, floor] = [await near("mxfp8"), await near("mxfp4"), await near("mxfp4-floor")];
    expect(fp8).toBeGreaterThan(18);
    expect(fp4).toBeLessThan(fp8 - 8);
    expect(floor).toBeLessThan(fp8 - 8);
    // Rounding by chance adds noise to a single gradient; NVFP4's finer scales more than make up for it.
    expect(await near("mxfp4-stochastic")).toBeGreaterThan(0);
    expect(await near("nvfp4")).toBeGreaterThan(await near("mxfp4-stochastic"));
  });

  test("recipes are records of six operands", () => {
    for (const { forward, inputGradient, weightGradient } of Object.values(recipes))
      for (const operand of [
        forward.x,
        forward.w,
        inputGradient.dy,
        inputGradient.w,
        weightGradient.dy,
        weightGradient.x,
      ])
        expect(operand === null || operand.block.length === 2).toBe(true);
  });
});
