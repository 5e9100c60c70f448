import { expect, test } from "vitest";
import { runLayers } from "../../src/evaluate/layers.ts";
import { planStreamed } from "../../src/evaluate/streamed.ts";
import { createTrainer } from "../../src/train/create.ts";
import { ownMemory } from "../../src/wasm/instantiate.ts";
import { tinyLlama } from "../support/tiny-llama.ts";

/** Bytes of the kernels' memory after a model of some layers has run. */
async function memoryOf(layers: number): Promise<number> {
  const trainer = await createTrainer({ config: { ...tinyLlama, num_hidden_layers: layers }, seed: 1 });
  const files = trainer.files();
  await trainer.close();
  const memory = ownMemory();
  await runLayers(await planStreamed(files, new Int32Array(32), 16), { memory });
  return memory.buffer.byteLength;
}

test("a layer takes its key-value cache along: more layers take no more memory", async () => {
  expect(await memoryOf(12)).toBe(await memoryOf(2));
});
