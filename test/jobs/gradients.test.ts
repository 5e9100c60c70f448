import { beforeAll, describe, expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import type { Source } from "../../src/io/source.ts";
import {
  GradientExchange,
  type GradientFormat,
  packGradients,
  type Transport,
  unpackGradients,
} from "../../src/jobs/gradients.ts";
import { load } from "../../src/load.ts";
import { schemes } from "../../src/tensor/schemes.ts";
import { createTrainer, type NewModel } from "../../src/train/create.ts";
import type { TrainerOptions } from "../../src/train/options.ts";
import type { Trainer } from "../../src/train/trainer.ts";
import { tinyLlama as config } from "../support/tiny-llama.ts";

/** Ranks in one process: values lie in a Map, and readers wait until they are there. */
class Memory {
  readonly values = new Map<string, Uint8Array>();
  readonly #waiting = new Map<string, (bytes: Uint8Array) => void>();

  of(rank: number): Transport {
    return {
      send: async (name, bytes) => {
        this.values.set(`${name} ${rank}`, bytes);
        for (const [key, wake] of this.#waiting) if (key.startsWith(`${name} ${rank} `)) wake(bytes);
      },
      receive: (from, name) =>
        new Promise((resolve) => {
          const bytes = this.values.get(`${name} ${from}`);
          if (bytes !== undefined) resolve(bytes);
          else this.#waiting.set(`${name} ${from} ${rank}`, resolve);
        }),
      forget: async (name) => {
        this.values.delete(`${name} ${rank}`);
      },
    };
  }
}

let engine: Engine;
beforeAll(async () => {
  engine = await load();
});

const randomOf = (seed: number, count: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(seed * 1e4 + i * 12.9898) * 2 ** (i % 7));

describe("messages of gradients", () => {
  test.each([0, 1, 31, 32, 33, 1000])("of %i values come back", (count) => {
    const values = randomOf(1, count);
    for (const format of ["f32", "fp8"] as const) {
      const head = { format, step: 7, rank: 1, size: 3, count };
      const bytes = packGradients(engine, head, 1.5, values);
      expect(bytes.length).toBe(40 + (format === "f32" ? 4 * count : count + Math.ceil(count / 32)));
      // As Redis gives them: at any address.
      const moved = Buffer.alloc(bytes.length + 3).subarray(3);
      moved.set(bytes);
      const back = unpackGradients(engine, head, moved);
      const expected =
        format === "f32" ? values : engine.dequantize(engine.quantize(values, [count], schemes.mxfp8));
      expect(back).toEqual({ loss: 1.5, values: expected });
    }
  });

  test("of strangers are refused", () => {
    const head = { format: "fp8", step: 7, rank: 1, size: 3, count: 64 } as const;
    const bytes = packGradients(engine, head, 1, randomOf(1, 64));
    const refused = (of: Uint8Array, other: object = {}) =>
      expect(() => unpackGradients(engine, { ...head, ...other }, of)).toThrow(/the gradients of rank/);
    for (let length = 0; length < bytes.length; length++) refused(bytes.subarray(0, length));
    refused(new Uint8Array(bytes.length));
    for (let i = 0; i < 32; i++) refused(Uint8Array.from(bytes, (byte, at) => (at === i ? byte ^ 1 : byte)));
    refused(bytes, { step: 8 });
    refused(bytes, { rank: 2 });
    refused(bytes, { size: 4 });
    refused(bytes, { format: "f32" });
    refused(bytes, { count: 63 });
  });
});

const rows = 6;
const steps = 10;
const idsOf = (step: number): Int32Array =>
  Int32Array.from({ length: rows * 17 }, (_, i) => (i * 7 + step) % 40);

type Beginning = NewModel | ReadonlyMap<string, Source>;
const fresh: NewModel = { config, seed: 3 };

/** @returns losses of each step, and the weights at the end */
async function alone(
  options: TrainerOptions,
  parts: number,
  model: Beginning = fresh,
): Promise<readonly [number[], Float32Array[]]> {
  const trainer = await createTrainer(model, options);
  const losses: number[] = [];
  for (let step = 0; step < steps; step++)
    losses.push((await trainer.step(idsOf(step), [rows, 17], parts)).loss);
  const weights = weightsOf(trainer);
  await trainer.close();
  return [losses, weights];
}

const weightsOf = (trainer: Trainer): Float32Array[] => trainer.names.map((name) => trainer.weight(name));

/** The same by several ranks. */
async function together(
  size: number,
  format: GradientFormat,
  options: TrainerOptions,
  model: Beginning = fresh,
): Promise<(readonly [number[], Float32Array[], Memory])[]> {
  const memory = new Memory();
  const share = rows / size;
  return Promise.all(
    Array.from({ length: size }, async (_, rank) => {
      const dataParallel = new GradientExchange(memory.of(rank), { rank, size, format }, engine);
      const trainer = await createTrainer(model, { ...options, dataParallel });
      const losses: number[] = [];
      for (let step = 0; step < steps; step++) {
        const own = idsOf(step).subarray(rank * share * 17, (rank + 1) * share * 17);
        losses.push((await trainer.step(own, [share, 17])).loss);
      }
      await dataParallel.agree(steps, "ab".repeat(32));
      const weights = weightsOf(trainer);
      await trainer.close();
      return [losses, weights, memory] as const;
    }),
  );
}

describe("ranks", () => {
  test.each([
    [2, "deepseek"],
    [3, "deepseek"],
    [2, "mxfp4-stochastic"],
  ] as const)(
    "%i of them with %s: the same bits on each, the losses of one machine",
    async (size, recipe) => {
      const options = { recipe, seed: 5, learningRate: 0.01 };
      const [expected] = await alone(options, size);
      const exact = await together(size, "f32", options);
      const rounded = await together(size, "fp8", options);
      for (const ranks of [exact, rounded])
        for (const [losses, weights] of ranks) {
          expect(losses).toEqual(ranks[0]![0]);
          expect(weights).toEqual(ranks[0]![1]);
        }
      const apart = (some: readonly number[]) =>
        Math.max(...some.map((loss, i) => Math.abs(loss - expected[i]!)));
      expect(expected.at(-1)! < expected[0]! - 0.5).toBe(true);
      expect(exact[0]![0][0]).toBeCloseTo(expected[0]!, 12);
      expect(apart(exact[0]![0])).toBeLessThan(1e-6);
      expect(apart(rounded[0]![0])).toBeLessThan(0.01);
      expect(rounded[0]![0]).not.toEqual(exact[0]![0]);
      // What all have read does not stay.
      expect(exact[0]![2].values.size).toBe(size);
    },
  );

  test("one rank that sends float32 trains as one machine, to the same bits", async () => {
    const [[losses, weights]] = (await together(1, "f32", {})) as [
      readonly [number[], Float32Array[], Memory],
    ];
    expect([losses, weights]).toEqual(await alone({}, 1));
  });

  test("that train adapters of a model exchange theirs alone, with any number of threads", async () => {
    const model = (await createTrainer(fresh)).files();
    const options = { learningRate: 0.05, lora: { rank: 4, targets: ["q_proj", "down_proj"] } };
    const [expected] = await alone(options, 2, model);
    const found = await together(2, "f32", options, model);
    const threaded = await together(2, "f32", { ...options, threads: 2 }, model);
    for (const [losses, weights] of [...found, ...threaded])
      expect([losses, weights]).toEqual([found[0]![0], found[0]![1]]);
    expect(expected.at(-1)! < expected[0]!).toBe(true);
    for (const [i, loss] of found[0]![0].entries()) expect(loss).toBeCloseTo(expected[i]!, 6);
  });

  test("a step whose exchange fails changes nothing, and can be taken again", async () => {
    let isBroken = true;
    const dataParallel = {
      rank: 0,
      size: 1,
      exchange: async ({ loss }: { loss: number }) => {
        if (isBroken) throw new Error("no network");
        return loss;
      },
    };
    const trainer = await createTrainer(fresh, { dataParallel });
    const before = weightsOf(trainer);
    await expect(trainer.step(idsOf(0), [rows, 17])).rejects.toThrow("no network");
    expect(weightsOf(trainer)).toEqual(before);
    isBroken = false;
    for (let step = 0; step < steps; step++) await trainer.step(idsOf(step), [rows, 17]);
    expect(weightsOf(trainer)).toEqual((await alone({}, 1))[1]);
  });

  test("NaN of one rank stops all, and they tell the step", async () => {
    const memory = new Memory();
    const errors = await Promise.all(
      [0, 1].map(async (rank) => {
        const exchange = new GradientExchange(memory.of(rank), { rank, size: 2, format: "fp8" }, engine);
        const dataParallel = {
          rank,
          size: 2,
          exchange: (own: Parameters<typeof exchange.exchange>[0]) => {
            if (rank === 1) own.gradients[5] = Number.NaN;
            return exchange.exchange(own);
          },
        };
        const trainer = await createTrainer(fresh, { dataParallel });
        return trainer.step(idsOf(0), [rows, 17]).catch((error: Error) => error.message);
      }),
    );
    expect(errors[0]).toMatch(/trainer: step 1: expected a loss and gradients that are numbers/);
    expect(errors[1]).toBe(errors[0]);
  });

  test("a loss that is no number on one rank is not laid to the tensors of another", async () => {
    const dataParallel = { rank: 0, size: 2, exchange: async () => Number.NaN };
    const trainer = await createTrainer(fresh, { dataParallel });
    await expect(trainer.step(idsOf(0), [rows, 17])).rejects.toThrow(
      "a loss of NaN; the first tensor that holds NaN or Inf is on another rank",
    );
  });

  test("that hold other weights do not agree", async () => {
    const memory = new Memory();
    const found = await Promise.allSettled(
      ["a", "b"].map((letter, rank) =>
        new GradientExchange(memory.of(rank), { rank, size: 2, format: "fp8" }, engine).agree(
          4,
          letter.repeat(64),
        ),
      ),
    );
    for (const one of found)
      expect(String((one as PromiseRejectedResult).reason)).toMatch(/step 4: expected the same weights/);
  });

  test.each([null, 3, {}, { rank: 2, size: 2, exchange: () => {} }, { rank: 0, size: 1 }])(
    "a place of %j is refused",
    async (dataParallel) => {
      const made = createTrainer(fresh, { dataParallel: dataParallel as never });
      await expect(made).rejects.toThrow(/dataParallel: expected \{ rank, size, exchange \}/);
    },
  );
});
