import { load } from "../dist/index.js";
import { SHAPES } from "./checkpoints.mjs";

/** What products alone would allow for a token: all FP8 weights of a model met by one row, packed. */
export async function bound(name) {
  const fp8 = await load();
  const shapes = SHAPES[name].tensors.filter(([, , kind]) => kind === "fp8").map(([, shape]) => shape);
  const kinds = new Map();
  for (const [n, k] of shapes)
    kinds.set(`${n}x${k}`, { n, k, count: (kinds.get(`${n}x${k}`)?.count ?? 0) + 1 });
  let milliseconds = 0;
  for (const { n, k, count } of kinds.values()) {
    const copies = Math.min(count, Math.ceil(6e7 / (n * k)));
    const packed = Array.from({ length: copies }, () =>
      fp8.pack({
        format: "e4m3",
        shape: [n, k],
        block: [128, 128],
        codes: new Uint8Array(n * k).map((_, i) => 0x48 + (i % 44)),
        scales: new Uint8Array(Math.ceil(n / 128) * Math.ceil(k / 128)).fill(115),
      }),
    );
    const x = { values: new Float32Array(k).fill(0.5), shape: [1, k] };
    const out = new Float32Array(n);
    let best = Infinity;
    for (let round = 0; round < 5; round++) {
      const start = performance.now();
      for (const w of packed) fp8.gemm(x, w, { out });
      best = Math.min(best, (performance.now() - start) / copies);
    }
    milliseconds += best * count;
    for (const w of packed) w.free();
  }
  return 1000 / milliseconds;
}
