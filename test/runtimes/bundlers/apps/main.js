import { load, schemes } from "blockscale";

const fp8 = await load();
const values = Float32Array.from({ length: 64 }, (_, i) => i / 64);
const { scales } = fp8.quantize(values, [2, 32], schemes.mxfp8);
const text = `${fp8.variant}: scales ${scales}`;
document.querySelector("output").textContent = text;
parent.postMessage(text, "*");
