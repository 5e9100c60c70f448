// How much time and memory plans of very large models take, and conversions of very many files: node --expose-gc bench/planning.mjs
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openCheckpoint, planQuantize } from "../dist/checkpoint/index.js";

const TENSORS = 100_000;
const SHARDS = 500;

/** The first bytes of a safetensors file, and the size of all of it. */
function headerOf(tensors) {
  const header = {};
  let end = 0;
  for (const [name, shape] of tensors) {
    const begin = end;
    end += 2 * shape[0] * shape[1];
    header[name] = { dtype: "BF16", shape, data_offsets: [begin, end] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return { bytes: Buffer.concat([length, json]), size: 8 + json.length + end };
}

/** A model of experts whose data nobody asks for. */
function largeModel() {
  const files = new Map([["config.json", new Blob(["{}"])]]);
  for (let file = 0; file < TENSORS / 1000; file++) {
    const names = Array.from(
      { length: 1000 },
      (_, i) => `model.layers.${file}.mlp.experts.${i}.up_proj.weight`,
    );
    const { bytes, size } = headerOf(names.map((name) => [name, [2048, 7168]]));
    const slice = (start, end) => ({
      arrayBuffer: async () => new Uint8Array(bytes.subarray(start, end)).buffer,
    });
    files.set(`model-${String(file).padStart(5, "0")}.safetensors`, { size, slice });
  }
  return files;
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(0)} MB`;
const heap = () => {
  globalThis.gc();
  return process.memoryUsage().heapUsed;
};

async function plan() {
  const files = largeModel();
  const empty = heap();
  const cpu = process.cpuUsage();
  const { checkpoint } = await openCheckpoint(files);
  const opened = heap();
  const plan = planQuantize(checkpoint);
  const seconds = process.cpuUsage(cpu).user / 1e6;
  const planned = heap();
  console.log(
    `${plan.tensors.length} tensors: headers ${megabytes(opened - empty)}, plan ${megabytes(planned - opened)}, ${seconds.toFixed(1)} s of CPU time`,
  );
}

function convert() {
  const folder = mkdtempSync(join(tmpdir(), "blockscale-bench-"));
  const model = join(folder, "model");
  mkdirSync(model);
  for (let i = 0; i < SHARDS; i++) {
    const { bytes } = headerOf([[`model.layers.${i}.self_attn.q_proj.weight`, [64, 64]]]);
    writeFileSync(join(model, `model-${i}.safetensors`), Buffer.concat([bytes, Buffer.alloc(8192)]));
  }
  const cli = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));
  const times = Array.from({ length: 3 }, (_, i) => {
    const start = performance.now();
    execFileSync(process.execPath, [cli, "quantize", model, join(folder, `out-${i}`), "--json"], {
      stdio: "ignore",
    });
    return (performance.now() - start) / 1000;
  });
  rmSync(folder, { recursive: true });
  console.log(
    `${SHARDS} files of one small weight: ${Math.min(...times).toFixed(1)} s, the best of ${times.length}`,
  );
}

await plan();
convert();
