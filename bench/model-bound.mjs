import { load } from "../dist/index.js";
import { SHAPES } from "./checkpoints.mjs";

/**
 * What products alone would allow for a token: every FP8 weight of a dense model, packed, one after another as a token meets
 * them, each met by one row. No weight is used twice in a pass: those of a whole model do not stay in a cache.
 * @returns a function that runs one pass and gives its milliseconds, and one that frees the weights
 */
export async function openProducts(name) {
  const fp8 = await load();
  const products = SHAPES[name].tensors
    .filter(([, , kind]) => kind === "fp8")
    .map(([tensor, [n, k]]) => ({
      // A tied embedding is multiplied last, as the head.
      order: tensor.includes("embed_tokens") ? 1 : 0,
      weights: fp8.pack({
        format: "e4m3",
        shape: [n, k],
        block: [128, 128],
        codes: new Uint8Array(n * k).map((_, i) => 0x48 + (i % 44)),
        scales: new Uint8Array(Math.ceil(n / 128) * Math.ceil(k / 128)).fill(115),
      }),
      x: { values: new Float32Array(k).fill(0.5), shape: [1, k] },
      out: new Float32Array(n),
    }))
    .sort((a, b) => a.order - b.order);
  return {
    pass() {
      const start = performance.now();
      for (const { x, weights, out } of products) fp8.gemm(x, weights, { out });
      return performance.now() - start;
    },
    free() {
      for (const { weights } of products) weights.free();
    },
  };
}
