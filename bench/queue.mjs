// Two workers of a queue against one process, and what a job costs Redis: node bench/queue.mjs [turns] [shards]. Needs redis-server.
// Files lie in TMPDIR: /dev/shm leaves the disk out of it.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { markdownTable } from "markdown-table";
import { freePort } from "../test/support/free-port.mjs";

const CLI = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));
const [turns, SHARDS] = [process.argv[2] ?? 3, process.argv[3] ?? 16].map(Number);
const [ROWS, COLUMNS] = [8192, 8192];
const folder = mkdtempSync(join(tmpdir(), "blockscale-bench-"));
const running = new Set();

function start(command, args) {
  const child = spawn(command, args);
  running.add(child);
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (more) => (text += more));
  const ended = new Promise((resolve, reject) =>
    child.on("close", (code) => {
      running.delete(child);
      if (code) reject(new Error(text));
      else resolve();
    }),
  );
  return { child, said: () => text, ended };
}

/** Seconds of the processor that a running process has taken, by all of its threads; what it took before where it has ended. */
function processorOf({ pid }, before) {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "latin1")
      .replace(/^.*\) /, "")
      .split(" ");
    // User and system time, in hundredths of a second.
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return before;
  }
}

function blockscale(...args) {
  const result = { ...start(process.execPath, [CLI, ...args]), processor: 0 };
  const timer = setInterval(() => {
    result.processor = processorOf(result.child, result.processor);
  }, 20);
  result.ended = result.ended.finally(() => clearInterval(timer));
  return result;
}

async function until(process, words) {
  while (!words.test(process.said())) await setTimeout(20);
}

/** A BF16 checkpoint, one matrix a shard. */
function makeModel() {
  const model = join(folder, "model");
  mkdirSync(model);
  const values = Uint16Array.from(
    { length: ROWS * COLUMNS },
    (_, i) => 0x3c00 + ((i * 7919) % 0x300) + (i & 1 ? 0x8000 : 0),
  );
  const weightMap = {};
  for (let i = 0; i < SHARDS; i++) {
    const weight = `model.layers.${i}.mlp.down_proj.weight`;
    const header = JSON.stringify({
      [weight]: { dtype: "BF16", shape: [ROWS, COLUMNS], data_offsets: [0, values.byteLength] },
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
  const process = blockscale("quantize", model, out, ...flags);
  await process.ended;
  const seconds = (performance.now() - started) / 1000;
  rmSync(out, { recursive: true });
  return { seconds, processor: process.processor };
}

async function queued(count) {
  const flags = ["--queue", address, "--allow", folder, "--threads", "1"];
  const workers = Array.from({ length: count }, () => blockscale("worker", ...flags));
  for (const worker of workers) await until(worker, /Waiting for jobs/);
  const sum = () => workers.reduce((seconds, worker) => seconds + worker.processor, 0);
  const before = { ...costs(), processor: sum() };
  const { seconds, processor } = await timed("--queue", address);
  const after = { ...costs(), processor: sum() };
  for (const worker of workers) worker.child.kill("SIGTERM");
  for (const worker of workers) await worker.ended;
  return {
    seconds,
    processor: processor + after.processor - before.processor,
    commands: after.commands - before.commands,
    redis: after.seconds - before.seconds,
  };
}

const contestants = {
  "one process, one thread": () => timed("--threads", "1"),
  "one process, two threads": () => timed("--threads", "2"),
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
const bytes = 2 * SHARDS * ROWS * COLUMNS;
const first = Object.values(best)[0].seconds;
const rows = Object.entries(best).map(([name, { seconds, processor, commands, redis }]) => [
  name,
  seconds.toFixed(2),
  (first / seconds).toFixed(2),
  (bytes / 1e6 / seconds).toFixed(0),
  processor.toFixed(2),
  commands === undefined ? "" : (commands / SHARDS).toFixed(0),
  redis === undefined ? "" : ((1000 * redis) / SHARDS).toFixed(1),
]);
console.log(
  `${SHARDS} shards of ${(bytes / SHARDS / 1e6).toFixed(0)} MB in BF16 to FP8, the best of ${turns} turns\n`,
);
const columns = [
  "",
  "s",
  "times as fast",
  "MB/s read",
  "s of processors",
  "Redis commands a job",
  "ms of Redis a job",
];
console.log(markdownTable([columns, ...rows]));
for (const child of running) child.kill("SIGKILL");
rmSync(folder, { recursive: true, force: true });
