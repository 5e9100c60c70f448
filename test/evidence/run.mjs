// A model four times as large as the memory it is evaluated in: node test/evidence/run.mjs [layers]. Ends with `N passed, N failed`.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";

const CLI = new URL("../../dist/cli/main.js", import.meta.url).pathname;
const layers = Number(process.argv[2] ?? 40);
const folder = mkdtempSync(join(tmpdir(), "blockscale-evidence-"));

const CONFIG = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 1024,
  intermediate_size: 4096,
  num_hidden_layers: layers,
  num_attention_heads: 16,
  num_key_value_heads: 16,
  head_dim: 64,
  hidden_act: "silu",
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  vocab_size: 512,
  max_position_embeddings: 128,
  tie_word_embeddings: false,
  attention_bias: false,
  mlp_bias: false,
};

/** Names and shapes of all tensors. */
function tensorsOf({ hidden_size: h, intermediate_size: m, vocab_size: vocab, num_hidden_layers: count }) {
  const inLayer = (i) => {
    const at = `model.layers.${i}.`;
    const attention = ["q", "k", "v", "o"].map((part) => [`${at}self_attn.${part}_proj.weight`, [h, h]]);
    const norms = ["input", "post_attention"].map((part) => [`${at}${part}_layernorm.weight`, [h]]);
    return [
      ...attention,
      ...norms,
      [`${at}mlp.gate_proj.weight`, [m, h]],
      [`${at}mlp.up_proj.weight`, [m, h]],
      [`${at}mlp.down_proj.weight`, [h, m]],
    ];
  };
  return [
    ["model.embed_tokens.weight", [vocab, h]],
    ...Array.from({ length: count }, (_, i) => inLayer(i)).flat(),
    ["model.norm.weight", [h]],
    ["lm_head.weight", [vocab, h]],
  ];
}

/**
 * Bits of BF16 values from -0.05 to 0.05, of a generator with a fixed
 * start; each tensor begins elsewhere in them.
 */
function randomBits(count) {
  const values = new Float32Array(count);
  let state = 1;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    values[i] = (state / 2 ** 32 - 0.5) / 10;
  }
  return new Uint16Array(values.buffer).filter((_, i) => i % 2 === 1);
}

/** Writes the model a piece at a time, and the tokens. @returns bytes of the weights */
async function writeModel(path) {
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, "config.json"), JSON.stringify(CONFIG));
  const tensors = tensorsOf(CONFIG);
  let end = 0;
  const header = Object.fromEntries(
    tensors.map(([name, shape]) => {
      const begin = end;
      end += 2 * shape.reduce((a, b) => a * b);
      return [name, { dtype: "BF16", shape, data_offsets: [begin, end] }];
    }),
  );
  const file = await open(join(path, "model.safetensors"), "w");
  await file.write(headerOf(header));
  const bits = randomBits(2 ** 22 + tensors.length);
  const ones = new Uint16Array(4096).fill(0x3f80);
  for (const [i, [, shape]] of tensors.entries()) {
    const count = shape.reduce((a, b) => a * b);
    const source = shape.length === 1 ? ones : bits.subarray(i);
    await file.write(new Uint8Array(source.buffer, source.byteOffset, 2 * count));
  }
  await file.close();
  const ids = Int32Array.from({ length: 512 }, (_, i) => (i * 131) % CONFIG.vocab_size);
  const tokens = headerOf({ ids: { dtype: "I32", shape: [512], data_offsets: [0, 2048] } });
  writeFileSync(join(folder, "tokens.safetensors"), Buffer.concat([tokens, Buffer.from(ids.buffer)]));
  return end;
}

function headerOf(header) {
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([Buffer.alloc(8), text, Buffer.alloc((8 - (text.length % 8)) % 8, " ")]);
  padded.writeBigUInt64LE(BigInt(padded.length - 8));
  return padded;
}

/**
 * A control group of Linux that holds a process to some bytes; `null` where this machine lets us make none.
 */
function limitOf(bytes) {
  const [old, unified] = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"];
  const [parent, limit, peak] = existsSync(join(old, "memory.limit_in_bytes"))
    ? [old, "memory.limit_in_bytes", "memory.max_usage_in_bytes"]
    : [unified, "memory.max", "memory.peak"];
  const path = join(parent, `blockscale-${process.pid}`);
  try {
    mkdirSync(path);
    writeFileSync(join(path, limit), `${bytes}`);
    return { path, peak: () => Number(readFileSync(join(path, peak), "utf8")) };
  } catch {
    if (existsSync(path)) rmdirSync(path);
    return null;
  }
}

/** Tells the largest resident set of a process when it ends. */
const TELL_PEAK = `data:text/javascript,process.on("exit",()=>process.stderr.write("peak "+process.resourceUsage().maxRSS+"\\n"))`;

/** Runs the command line, in a control group if there is one. */
function blockscale(args, group = null) {
  const command = [process.execPath, "--import", TELL_PEAK, CLI, ...args];
  const join_ = group === null ? "" : `echo $$ > ${group.path}/cgroup.procs; `;
  const child = spawn("bash", ["-c", `${join_}exec "$@"`, "bash", ...command]);
  let [out, err] = ["", ""];
  child.stdout.on("data", (text) => (out += text));
  child.stderr.on("data", (text) => (err += text));
  const ended = new Promise((resolve) =>
    child.on("close", (code) =>
      resolve({ code, out, err, peak: 1024 * Number(/^peak (\d+)$/m.exec(err)?.[1]) }),
    ),
  );
  return { child, ended };
}

const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

const original = join(folder, "original");
const fp8 = join(folder, "fp8");
const size = await writeModel(original);
execFileSync(process.execPath, [CLI, "quantize", original, fp8], { stdio: "ignore" });
const limit = Math.floor(size / 4);
const group = limitOf(limit);
const command = ["evaluate", fp8, "--against", original, "--tokens", join(folder, "tokens.safetensors")];
const options = ["--context", "128", "--threads", "1", "--json"];
let whole;

const tests = {
  async "a model of four times the memory is evaluated in it"() {
    whole = await blockscale([...command, ...options], group).ended;
    assert.equal(whole.code, 0, whole.err);
    const held = group === null ? "no control group here" : `control group of ${megabytes(limit)}`;
    console.log(`  BF16 weights ${megabytes(size)}; ${held}; largest resident set ${megabytes(whole.peak)}`);
    assert.ok(whole.peak <= limit, `${megabytes(whole.peak)} are more than ${megabytes(limit)}`);
    const { tokens, kldMean } = JSON.parse(whole.out);
    assert.equal(tokens, 256);
    assert.ok(kldMean > 0 && kldMean < 0.1, `${kldMean}`);
  },
  async "killed in each of both models, it goes on to the same JSON, in the same memory"() {
    const state = join(folder, "state");
    for (let kill = 0; kill < 2; kill++) {
      const { child, ended } = blockscale([...command, ...options, "--state", state], group);
      const before = layersIn(state);
      while (layersIn(state) < before + 0.7 * layers && child.exitCode === null) await setTimeout(5);
      child.kill("SIGKILL");
      await ended;
      console.log(`  killed with ${layersIn(state)} of ${2 * layers} layers kept`);
    }
    const kept = layersIn(state);
    assert.ok(kept > 0 && kept < 2 * layers, `${kept} layers`);
    const last = await blockscale([...command, ...options, "--state", state], group).ended;
    assert.equal(last.code, 0, last.err);
    assert.equal(last.out, whole.out);
    assert.ok(last.peak <= limit, megabytes(last.peak));
  },
};

/** Layers of both models whose hidden states are kept. */
function layersIn(state) {
  if (!existsSync(state)) return 0;
  return readdirSync(state)
    .filter((name) => name.endsWith(".states"))
    .reduce((sum, name) => {
      const [line] = readFileSync(join(state, name), "latin1").split("\n", 1);
      return sum + JSON.parse(line).layers;
    }, 0);
}

let [passed, failed] = [0, 0];
for (const [name, body] of Object.entries(tests)) {
  const started = performance.now();
  try {
    await body();
    passed++;
    console.log(`ok      ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed++;
    console.log(`FAILED  ${name}\n${error.stack}`);
  }
}
if (group !== null) rmdirSync(group.path);
rmSync(folder, { recursive: true, force: true });
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
