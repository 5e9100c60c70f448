const { load, schemes } = require("blockscale");

load().then((fp8) => {
  const values = Float32Array.from({ length: 64 }, (_, i) => i / 64);
  const tensor = fp8.quantize(values, [2, 32], schemes.mxfp8);
  console.log(`${fp8.variant}: ${tensor.codes.length} codes, scales ${tensor.scales}`);
});
