// Two workers of a queue against one process, and what a job costs Redis: node bench/queue.mjs [turns]. Needs redis-server.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { markdownTable } from "markdown-table";

const CLI = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));
const [SHARDS, SIZE] = [16, 4096];
const turns = Number(process.argv[2] ?? 3);
const folder = mkdtempSync(join(tmpdir(), "blockscale-bench-"));
const running = new Set();

function start(command, args) {
  const child = spawn(command, args);
  running.add(child);
  const result = { child, text: "", ended: null };
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (result.text += text));
  result.ended = new Promise((resolve, reject) =>
    child.on("close", (code) => {
      running.delete(child);
      if (code) reject(new Error(result.text));
      else resolve();
    }),
  );
  return result;
}
const blockscale = (...args) => start(process.execPath, [CLI, ...args]);

async function until(process, words) {
  while (!words.test(process.text)) await setTimeout(20);
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A BF16 checkpoint of half a gigabyte, one matrix a shard. */
function makeModel() {
  const model = join(folder, "model");
  mkdirSync(model);
  const values = Uint16Array.from(
    { length: SIZE * SIZE },
    (_, i) => 0x3c00 + ((i * 7919) % 0x300) + (i & 1 ? 0x8000 : 0),
  );
  const weightMap = {};
  for (let i = 0; i < SHARDS; i++) {
    const weight = `model.layers.${i}.mlp.down_proj.weight`;
    const header = JSON.stringify({
      [weight]: { dtype: "BF16", shape: [SIZE, SIZE], data_offsets: [0, values.byteLength] },
    });
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    weightMap[weight] = `model-${i}.safetensors`;
    writeFileSync(
      join(model, weightMap[weight]),
      Buffer.concat([length, Buffer.from(header), Buffer.from(values.buffer)]),
    );
  }
  writeFileSync(
    join(model, "config.json"),
    '{"architectures":["LlamaForCausalLM"],"torch_dtype":"bfloat16"}',
  );
  writeFileSync(
    join(model, "model.safetensors.index.json"),
    JSON.stringify({ metadata: {}, weight_map: weightMap }),
  );
  return model;
}

const model = makeModel();
const port = await freePort();
const address = `redis://127.0.0.1:${port}`;
const redis = start("redis-server", ["--port", String(port), "--save", "", "--dir", folder]);
await until(redis, /Ready to accept/);
const info = (section) =>
  execFileSync("redis-cli", ["-p", String(port), "info", section], { encoding: "utf8" });
/** Commands so far, those of scripts too, and seconds of the processor. */
function costs() {
  const sum = (text, what) => [...text.matchAll(what)].reduce((n, [, value]) => n + Number(value), 0);
  return {
    commands: sum(info("commandstats"), /:calls=(\d+)/g),
    seconds: sum(info("cpu"), /^used_cpu_(?:sys|user):([\d.]+)/gm),
  };
}

async function timed(...flags) {
  const out = join(folder, "out");
  const started = performance.now();
  await blockscale("quantize", model, out, ...flags).ended;
  const seconds = (performance.now() - started) / 1000;
  rmSync(out, { recursive: true });
  return { seconds };
}

async function queued(count) {
  const flags = ["--queue", address, "--allow", folder, "--jobs", "1"];
  const workers = Array.from({ length: count }, () => blockscale("worker", ...flags));
  for (const worker of workers) await until(worker, /Waiting for jobs/);
  const before = costs();
  const { seconds } = await timed("--queue", address);
  const after = costs();
  for (const worker of workers) worker.child.kill("SIGTERM");
  for (const worker of workers) await worker.ended;
  return { seconds, commands: after.commands - before.commands, redis: after.seconds - before.seconds };
}

const contestants = {
  "one process, one thread": () => timed("--jobs", "1"),
  "one process, two threads": () => timed("--jobs", "2"),
  "queue, one worker of one thread": () => queued(1),
  "queue, two workers of one thread": () => queued(2),
};
const best = {};
for (let turn = 0; turn < turns; turn++) {
  for (const [name, run] of Object.entries(contestants)) {
    const result = await run();
    if (!(result.seconds >= best[name]?.seconds)) best[name] = result;
  }
}
const bytes = 2 * SHARDS * SIZE * SIZE;
const first = Object.values(best)[0].seconds;
const rows = Object.entries(best).map(([name, { seconds, commands, redis }]) => [
  name,
  seconds.toFixed(2),
  (first / seconds).toFixed(2),
  (bytes / 1e6 / seconds).toFixed(0),
  commands === undefined ? "" : (commands / SHARDS).toFixed(0),
  redis === undefined ? "" : ((1000 * redis) / SHARDS).toFixed(1),
]);
console.log(
  `${SHARDS} shards of ${(bytes / SHARDS / 1e6).toFixed(0)} MB in BF16 to FP8, the best of ${turns} turns\n`,
);
const columns = ["", "s", "times as fast", "MB/s read", "Redis commands a job", "ms of Redis a job"];
console.log(markdownTable([columns, ...rows]));
for (const child of running) child.kill("SIGKILL");
rmSync(folder, { recursive: true, force: true });
