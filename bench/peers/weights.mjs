import { readFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "../../dist/index.js";

/** The values of a checkpoint of bench/checkpoints.mjs in float32, by name: { shape, values }. */
export async function weightsOf(folder) {
  const fp8 = await load();
  const file = readFileSync(join(folder, "model.safetensors"));
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, 8 + length).toString());
  const bytesOf = (name) => {
    const [start, end] = header[name].data_offsets.map((offset) => 8 + length + offset);
    return new Uint8Array(file.subarray(start, end));
  };
  const weights = {};
  for (const [name, { dtype, shape }] of Object.entries(header)) {
    if (dtype === "F8_E8M0") continue;
    const codes = bytesOf(name);
    const scales = dtype === "BF16" ? undefined : bytesOf(`${name}_scale_inv`);
    const values =
      scales === undefined
        ? Float32Array.from(
            new Uint16Array(codes.buffer),
            (bits) => new Float32Array(Uint32Array.of(bits << 16).buffer)[0],
          )
        : fp8.dequantize({ format: "e4m3", shape, block: [128, 128], codes, scales });
    weights[name] = { shape, values };
  }
  return weights;
}
