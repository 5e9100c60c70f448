// Models larger than the memory they are evaluated in: node test/evidence/run.mjs [layers]. Ends with `N passed, N failed`.
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

/** Its embedding and head of 256 MiB each are sixteen times as large as one of its layers. */
const WORDY = { ...CONFIG, num_hidden_layers: 2, intermediate_size: 1024, vocab_size: 2 ** 17 };

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

/** Writes a model a piece at a time. @returns bytes of the weights */
async function writeModel(path, config) {
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, "config.json"), JSON.stringify(config));
  const tensors = tensorsOf(config);
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
  const bits = randomBits(PIECE + tensors.length);
  const ones = new Uint16Array(4096).fill(0x3f80);
  for (const [i, [, shape]] of tensors.entries()) {
    const count = shape.reduce((a, b) => a * b);
    const source = shape.length === 1 ? ones : bits.subarray(i);
    for (let done = 0; done < count; done += PIECE) {
      const some = 2 * Math.min(PIECE, count - done);
      await file.write(new Uint8Array(source.buffer, source.byteOffset, some));
    }
  }
  await file.close();
  return end;
}

/** Values that are written at a time, and after which a tensor repeats. */
const PIECE = 2 ** 22;

const TOKENS = 512;

/** Writes tokens of a vocabulary. @returns the path */
function writeTokens(name, vocabulary) {
  const ids = Int32Array.from({ length: TOKENS }, (_, i) => (i * 131071) % vocabulary);
  const front = headerOf({ ids: { dtype: "I32", shape: [TOKENS], data_offsets: [0, 4 * TOKENS] } });
  const path = join(folder, `${name}.safetensors`);
  writeFileSync(path, Buffer.concat([front, Buffer.from(ids.buffer)]));
  return path;
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

/** Checks the largest resident set of an evaluation, and tells it. */
function toldPeak({ peak }, most) {
  assert.ok(peak <= most, `${megabytes(peak)} are more than ${megabytes(most)}`);
  return `largest resident set ${megabytes(peak)} of ${megabytes(most)}`;
}

const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

/** A model in BF16, its copy in FP8, and the command that compares them. */
async function prepare(name, config) {
  const [original, fp8] = ["original", "fp8"].map((kind) => join(folder, `${name}-${kind}`));
  const size = await writeModel(original, config);
  execFileSync(process.execPath, [CLI, "quantize", original, fp8], { stdio: "ignore" });
  const command = ["evaluate", fp8, "--against", original, "--tokens", writeTokens(name, config.vocab_size)];
  return { size, command: [...command, "--context", "128", "--threads", "1", "--json"] };
}

/** What an evaluation may take: a layer, the hidden states of both models, and 128 MiB. */
function allowed({ hidden_size: h, intermediate_size: m }) {
  const layer = 2 * (4 * h * h + 3 * h * m);
  return layer + 2 * 4 * TOKENS * h + 2 ** 27;
}

const { size, command } = await prepare("deep", CONFIG);
const limit = Math.floor(size / 4);
const group = limitOf(limit);
let whole;

const tests = {
  async "a model of four times the memory is evaluated in it"() {
    whole = await blockscale(command, group).ended;
    assert.equal(whole.code, 0, whole.err);
    const held = group === null ? "no control group here" : `control group of ${megabytes(limit)}`;
    console.log(`  BF16 weights ${megabytes(size)}; ${held}; ${toldPeak(whole, allowed(CONFIG))}`);
    const { tokens, kldMean } = JSON.parse(whole.out);
    assert.equal(tokens, 256);
    assert.ok(kldMean > 0 && kldMean < 0.1, `${kldMean}`);
  },
  async "killed in each of both models, it goes on to the same JSON, in the same memory"() {
    const state = join(folder, "state");
    for (let kill = 0; kill < 2; kill++) {
      const { child, ended } = blockscale([...command, "--state", state], group);
      const before = layersIn(state);
      while (layersIn(state) < before + 0.7 * layers && child.exitCode === null) await setTimeout(5);
      child.kill("SIGKILL");
      await ended;
      console.log(`  killed with ${layersIn(state)} of ${2 * layers} layers kept`);
    }
    const kept = layersIn(state);
    assert.ok(kept > 0 && kept < 2 * layers, `${kept} layers`);
    const last = await blockscale([...command, "--state", state], group).ended;
    assert.equal(last.code, 0, last.err);
    assert.equal(last.out, whole.out);
    toldPeak(last, allowed(CONFIG));
  },
  async "a head of sixteen layers is never in memory as a whole"() {
    const { size, command } = await prepare("wordy", WORDY);
    const ran = await blockscale(command, group).ended;
    assert.equal(ran.code, 0, ran.err);
    const head = 2 * WORDY.vocab_size * WORDY.hidden_size;
    console.log(
      `  BF16 weights ${megabytes(size)}, of which the head ${megabytes(head)}; ${toldPeak(ran, allowed(WORDY))}`,
    );
    const { tokens, perplexity, kldMean } = JSON.parse(ran.out);
    assert.equal(tokens, 256);
    assert.ok(perplexity > 1e5 && kldMean > 0 && kldMean < 0.1, `${perplexity}, ${kldMean}`);
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
