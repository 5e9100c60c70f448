import { load, schemes } from "blockscale";

load().then((fp8) => {
  const values = Float32Array.from({ length: 64 }, (_, i) => i / 64);
  const { scales } = fp8.quantize(values, [2, 32], schemes.mxfp8);
  postMessage(`${fp8.variant}: scales ${scales}`);
});
