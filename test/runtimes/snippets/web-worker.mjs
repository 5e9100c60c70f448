// No bundler and no import map: blockscale/external imports relative files only.
import { load, schemes } from "/node_modules/blockscale/dist/external.js";

const fp8 = load({ wasm: fetch("/node_modules/blockscale/dist/kernels/baseline.wasm") });

addEventListener("message", async ({ data }) => {
  const tensor = (await fp8).quantize(data, [2, 32], schemes.mxfp8);
  postMessage(tensor, [tensor.codes.buffer, tensor.scales.buffer]);
});
