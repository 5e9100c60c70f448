import type * as checkpoint from "../../src/checkpoint/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { hash } from "./hash.ts";
import { bf16Bits, plainBits } from "./inputs.ts";

/** `blockscale/checkpoint`, as far as it is used here. */
export type Checkpoints = Pick<
  typeof checkpoint,
  "convertCheckpoint" | "dialects" | "fileStream" | "localConverter" | "openCheckpoint" | "planDequantize"
>;

const NAME = "model.safetensors";
const CONFIG = "config.json";

/**
 * Something to store for every dialect: a routed expert by itself for DeepSeek-V4's
 * FP4, a stack [experts, in, out] for gpt-oss.
 */
const SHAPES = {
  "model.embed_tokens.weight": [40, 256],
  "model.layers.0.input_layernorm.weight": [256],
  "model.layers.0.mlp.experts.0.up_proj.weight": [96, 256],
  "model.layers.0.mlp.experts.gate_up_proj": [2, 128, 96],
  "model.layers.0.mlp.up_proj.weight": [576, 256],
  "model.layers.0.self_attn.q_proj.weight": [256, 256],
};

/** A checkpoint of BF16 weights: the format is 8 bytes of header length, the header, the data. */
function bf16File(): Blob {
  const header: Record<string, unknown> = {};
  const data: BlobPart[] = [];
  let end = 0;
  for (const [name, shape] of Object.entries(SHAPES)) {
    const n = shape.reduce((product, size) => product * size, 1);
    const start = end;
    end += 2 * n;
    header[name] = { dtype: "BF16", shape, data_offsets: [start, end] };
    data.push(bf16Bits(plainBits(end, n)) as Uint16Array<ArrayBuffer>);
  }
  const text = JSON.stringify(header);
  const json = text.padEnd(8 * Math.ceil(text.length / 8));
  return new Blob([BigUint64Array.of(BigInt(json.length)), json, ...data]);
}

/** A quantised checkpoint, by the call that converts a whole one. */
async function quantized(
  file: Blob,
  to: keyof Checkpoints["dialects"],
  fp8: Engine,
  api: Checkpoints,
): Promise<ReadonlyMap<string, Blob>> {
  const plain = new Map([
    [NAME, file],
    [CONFIG, new Blob(['{"model_type":"gpt_oss"}'])],
  ]);
  const { files } = await api.convertCheckpoint(plain, { engine: fp8, to });
  return new Map([NAME, CONFIG].map((name) => [name, files.get(name)!]));
}

/** One dequantised file, read from its stream to the end. */
async function dequantized(files: ReadonlyMap<string, Blob>, fp8: Engine, api: Checkpoints): Promise<Blob> {
  const { checkpoint, sources } = await api.openCheckpoint(files);
  const plan = api.planDequantize(checkpoint, { dtype: "bf16" });
  const stream = api.fileStream(plan.files[0]!, { sources, convert: api.localConverter(fp8, sources) });
  return new Blob([await new Response(stream).arrayBuffer()]);
}

async function hashOf(file: Blob): Promise<string> {
  return hash(new Uint8Array(await file.arrayBuffer()));
}

/** Hashes of whole files: BF16 to every dialect, and back. */
export async function conversions(fp8: Engine, api: Checkpoints): Promise<Record<string, string>> {
  const all: Record<string, string> = {};
  const plain = bf16File();
  for (const to of (Object.keys(api.dialects) as (keyof Checkpoints["dialects"])[]).sort()) {
    const files = await quantized(plain, to, fp8, api);
    all[`checkpoint bf16 to ${to}`] = await hashOf(files.get(NAME)!);
    all[`checkpoint ${to} to bf16`] = await hashOf(await dequantized(files, fp8, api));
  }
  return all;
}
