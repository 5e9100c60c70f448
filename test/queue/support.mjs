// What the checks of the queue have in common: processes, a Redis, an S3 server, models.
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { installDebian, REDIS } from "../support/debian.mjs";
import { freePort } from "../support/free-port.mjs";
import { startFaults } from "./faults.mjs";

const CLI = new URL("../../dist/cli/main.js", import.meta.url).pathname;
const S3RVER = new URL("../../node_modules/s3rver/bin/s3rver.js", import.meta.url).pathname;
export const folder = mkdtempSync(join(tmpdir(), "blockscale-queue-"));
export const running = new Set();
/** All that commands have said, to be searched for secrets. */
export const everything = [];
let [passed, failed, unique] = [0, 0, 0];

export function installRedis() {
  try {
    execFileSync("redis-server", ["--version"], { stdio: "ignore" });
  } catch {
    installDebian(REDIS);
  }
}

export function run(command, args, env = {}) {
  const child = spawn(command, args, { env: { ...process.env, ...env } });
  running.add(child);
  let [out, err] = ["", ""];
  child.stdout.on("data", (text) => (out += text));
  child.stderr.on("data", (text) => (err += text));
  const ended = new Promise((resolve) =>
    child.on("close", (code) => {
      running.delete(child);
      everything.push(out, err);
      resolve({ code, out, err });
    }),
  );
  return { child, ended, said: () => out + err };
}
export const blockscale = (...args) => run(process.execPath, [CLI, ...args]);
/** The same with other variables in its environment. */
export const blockscaleWith = (env, ...args) => run(process.execPath, [CLI, ...args], env);

// What nobody may ever read in what is printed, or in what Redis keeps.
export const PASSWORD = "p4ssw0rd-of-the-test";
export const HUB_TOKEN = "hf_t0ken-of-the-test";
export const S3_KEY = "S3RVER";
process.env.HF_TOKEN = HUB_TOKEN;

/**
 * Starts a Redis that keeps what it has in files of a folder `name`, so that it can be started again.
 * @param more flags of redis-server
 */
export async function startRedis(port, name, more = []) {
  const flags = [
    ...["--port", port, "--dir", folder, "--bind", "127.0.0.1", "--requirepass", PASSWORD],
    ...["--appendonly", "yes", "--appenddirname", name, "--save", "", ...more],
  ];
  const redis = run("redis-server", flags.map(String));
  while (!/Ready to accept/.test(redis.said())) await setTimeout(50);
  return redis;
}

/**
 * Starts an S3 server in a process of its own, and one in front of it that fails now and then;
 * commands find that by their environment.
 */
export async function startS3(random) {
  const at = await freePort();
  const faults = await startFaults(at, random);
  const directory = join(folder, "s3");
  mkdirSync(directory);
  Object.assign(process.env, {
    AWS_ENDPOINT_URL: `http://127.0.0.1:${faults.port}`,
    AWS_ACCESS_KEY_ID: "S3RVER",
    AWS_SECRET_ACCESS_KEY: S3_KEY,
    AWS_REGION: "us-east-1",
    AWS_EC2_METADATA_DISABLED: "true",
  });
  const flags = ["--directory", directory, "--address", "127.0.0.1", "--port", String(at)];
  const server = run(process.execPath, [S3RVER, ...flags, "--configure-bucket", "models"]);
  while (!/listening/i.test(server.said())) await setTimeout(50);
  const client = new S3Client({ forcePathStyle: true, endpoint: `http://127.0.0.1:${at}` });
  const Bucket = "models";
  return {
    server,
    port: at,
    faults: faults.counts,
    put: async (path) => {
      for (const name of readdirSync(path))
        await client.send(
          new PutObjectCommand({ Bucket, Key: `large/${name}`, Body: readFileSync(join(path, name)) }),
        );
    },
    names: async (Prefix) =>
      ((await client.send(new ListObjectsV2Command({ Bucket, Prefix }))).Contents ?? []).map(
        ({ Key }) => Key,
      ),
    get: async (Key) => {
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
      return Buffer.from(await Body.transformToByteArray());
    },
  };
}

/** Numbers from 0 to 1, the same for the same seed. */
export function randomOf(start) {
  let state = start >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

let pool;
/** Random small BF16 values. A prime number of them: no two strips of a matrix begin with the same. */
function randomValues() {
  if (pool !== undefined) return pool;
  const random = randomOf(7);
  pool = new Uint16Array(1_000_003);
  for (let i = 0; i < pool.length; i++)
    pool[i] = 0x3c00 + Math.floor(random() * 0x300) + (random() < 0.5 ? 0x8000 : 0);
  return pool;
}

/** The values of a matrix: those of the pool again and again, each matrix from another one on. */
function valuesOf(matrix, count) {
  const from = randomValues();
  const values = new Uint16Array(count);
  let start = (7919 * matrix) % from.length;
  for (let at = 0; at < count; start = 0) {
    const some = from.subarray(start, start + count - at);
    values.set(some, at);
    at += some.length;
  }
  return values;
}

/** A BF16 checkpoint of some shards, with matrices of random small values. */
export function makeModel(shards, size) {
  const model = join(folder, `model-${unique++}`);
  mkdirSync(model);
  const weightMap = {};
  for (let i = 0; i < shards; i++) {
    const [name, weight] = [`model-${i}.safetensors`, `model.layers.${i}.mlp.down_proj.weight`];
    const rows = size + 16 * i;
    const values = valuesOf(i, rows * size);
    const header = JSON.stringify({
      [weight]: { dtype: "BF16", shape: [rows, size], data_offsets: [0, values.byteLength] },
    });
    const padded = header.padEnd(Math.ceil(header.length / 8) * 8);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(padded.length));
    writeFileSync(
      join(model, name),
      Buffer.concat([length, Buffer.from(padded), Buffer.from(values.buffer)]),
    );
    weightMap[weight] = name;
  }
  writeFileSync(
    join(model, "config.json"),
    '{ "architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16" }\n',
  );
  writeFileSync(
    join(model, "model.safetensors.index.json"),
    JSON.stringify({ metadata: {}, weight_map: weightMap }),
  );
  writeFileSync(join(model, "tokenizer.json"), "{}");
  return model;
}

/** Name and SHA-256 of every file, hidden ones too. */
export function contents(at) {
  const names = readdirSync(at, { recursive: true }).filter((name) => statSync(join(at, name)).isFile());
  return names.sort().map(
    (name) =>
      `${name} ${createHash("sha256")
        .update(readFileSync(join(at, name)))
        .digest("hex")}`,
  );
}

export const output = () => join(folder, `out-${unique++}`);

export function expect(isTrue, what) {
  if (!isTrue) throw new Error(what);
}
export const expectSame = (a, b) =>
  expect(
    String(contents(a)) === String(contents(b)),
    `${contents(a).join("\n")}\nis not\n${contents(b).join("\n")}`,
  );

export async function check(name, action) {
  const started = Date.now();
  const before = new Set(running);
  try {
    await Promise.race([
      action(),
      setTimeout(400_000, null, { ref: false }).then(() => {
        throw new Error("it takes longer than 400 s");
      }),
    ]);
    passed++;
    console.log(`ok: ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed++;
    console.log(`FAILED: ${name}: ${error.message}`);
    // What it left running would have a part in the next checks.
    for (const child of running)
      if (!before.has(child) && child.spawnargs.includes(CLI)) child.kill("SIGKILL");
  }
}

export async function stop(process, signal = "SIGTERM") {
  process.child.kill(signal);
  return process.ended;
}

/** Ends every process, this one too, and removes every file; says how many checks passed. */
export function finish() {
  for (const child of running) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
  console.log(`${passed} passed, ${failed} failed`);
  // A check that failed may have left a connection that would try for ever to reach its Redis.
  process.exit(failed === 0 ? 0 : 1);
}
