import { load, schemes } from "blockscale";

const fp8 = await load({ threads: 2 });
const one = await load();
const w = one.quantize(new Float32Array(64 * 32).fill(0.5), [64, 32], schemes.mxfp8);
const x = { values: new Float32Array(32).fill(2), shape: [1, 32] };
const product = await fp8.gemm(x, w);
console.log(`${product.length} elements, the first ${product[0]}`); // 64 elements, the first 32
await fp8.close();
