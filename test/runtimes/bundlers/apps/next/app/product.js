import { load, schemes } from "blockscale";

/** A product by two threads, and what came of it. */
export async function product() {
  const fp8 = await load({ threads: 2 });
  const one = await load();
  const w = one.quantize(new Float32Array(64 * 32).fill(0.5), [64, 32], schemes.mxfp8);
  const values = await fp8.gemm({ values: new Float32Array(32).fill(2), shape: [1, 32] }, w);
  await fp8.close();
  return `${fp8.variant}: ${fp8.threads} threads, ${values.length} times ${values[0]} and ${values[63]}`;
}
