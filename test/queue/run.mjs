// Conversions by a queue, with a real Redis: node test/queue/run.mjs [seed]. Ends with `N passed, N failed`.
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";

const CLI = new URL("../../dist/cli/main.js", import.meta.url).pathname;
const S3RVER = new URL("../../node_modules/s3rver/bin/s3rver.js", import.meta.url).pathname;
const seed = Number(process.argv[2] ?? 19);
const folder = mkdtempSync(join(tmpdir(), "blockscale-queue-"));
const running = new Set();
let [passed, failed, unique] = [0, 0, 0];

function installRedis() {
  try {
    execFileSync("redis-server", ["--version"], { stdio: "ignore" });
  } catch {
    execFileSync("apt-get", ["install", "-y", "-q", "--no-install-recommends", "redis-server"], {
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    });
  }
}

function run(command, args, env = {}) {
  const child = spawn(command, args, { env: { ...process.env, ...env } });
  running.add(child);
  let [out, err] = ["", ""];
  child.stdout.on("data", (text) => (out += text));
  child.stderr.on("data", (text) => (err += text));
  const ended = new Promise((resolve) =>
    child.on("close", (code) => {
      running.delete(child);
      resolve({ code, out, err });
    }),
  );
  return { child, ended, said: () => out + err };
}
const blockscale = (...args) => run(process.execPath, [CLI, ...args]);

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const PASSWORD = "p4ssw0rd-of-the-test";

/** Starts a Redis that keeps what it has in a file, so that it can be started again. */
async function startRedis(port, name) {
  const at = ["--port", port, "--dir", folder, "--bind", "127.0.0.1", "--requirepass", PASSWORD];
  const redis = run("redis-server", [
    ...at.map(String),
    "--appendonly",
    "yes",
    "--appenddirname",
    name,
    "--save",
    "",
  ]);
  while (!/Ready to accept/.test(redis.said())) await setTimeout(50);
  return redis;
}

/** Starts an S3 server in a process of its own; commands find it by their environment. */
async function startS3() {
  const at = await freePort();
  const directory = join(folder, "s3");
  mkdirSync(directory);
  Object.assign(process.env, {
    AWS_ENDPOINT_URL: `http://127.0.0.1:${at}`,
    AWS_ACCESS_KEY_ID: "S3RVER",
    AWS_SECRET_ACCESS_KEY: "S3RVER",
    AWS_REGION: "us-east-1",
    AWS_EC2_METADATA_DISABLED: "true",
  });
  const flags = ["--directory", directory, "--address", "127.0.0.1", "--port", String(at)];
  const server = run(process.execPath, [S3RVER, ...flags, "--configure-bucket", "models"]);
  while (!/listening/i.test(server.said())) await setTimeout(50);
  const client = new S3Client({ forcePathStyle: true });
  const Bucket = "models";
  return {
    server,
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
function randomOf(start) {
  let state = start >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A BF16 checkpoint of some shards, with matrices of random small values. */
function makeModel(shards, size) {
  const model = join(folder, `model-${unique++}`);
  mkdirSync(model);
  const random = randomOf(7);
  const weightMap = {};
  for (let i = 0; i < shards; i++) {
    const [name, weight] = [`model-${i}.safetensors`, `model.layers.${i}.mlp.down_proj.weight`];
    const rows = size + 16 * i;
    const values = Uint16Array.from(
      { length: rows * size },
      () => 0x3c00 + Math.floor(random() * 0x300) + (random() < 0.5 ? 0x8000 : 0),
    );
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
function contents(at) {
  const names = readdirSync(at, { recursive: true }).filter((name) => statSync(join(at, name)).isFile());
  return names.sort().map(
    (name) =>
      `${name} ${createHash("sha256")
        .update(readFileSync(join(at, name)))
        .digest("hex")}`,
  );
}

const output = () => join(folder, `out-${unique++}`);

function expect(isTrue, what) {
  if (!isTrue) throw new Error(what);
}
const expectSame = (a, b) =>
  expect(
    String(contents(a)) === String(contents(b)),
    `${contents(a).join("\n")}\nis not\n${contents(b).join("\n")}`,
  );

async function check(name, action) {
  const started = Date.now();
  try {
    await Promise.race([
      action(),
      setTimeout(240_000, null, { ref: false }).then(() => {
        throw new Error("it takes longer than 240 s");
      }),
    ]);
    passed++;
    console.log(`ok: ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed++;
    console.log(`FAILED: ${name}: ${error.message}`);
  }
}

async function stop(process, signal = "SIGTERM") {
  process.child.kill(signal);
  return process.ended;
}

installRedis();
const port = await freePort();
const address = `redis://:${PASSWORD}@127.0.0.1:${port}`;
let redis = await startRedis(port, "aof");
const worker = (...flags) =>
  blockscale(
    "worker",
    "--queue",
    address,
    "--allow",
    folder,
    "--allow",
    "s3://models/",
    "--jobs",
    "1",
    "--stalled-after",
    "3",
    ...flags,
  );
const model = makeModel(6, 512);
const whole = output();
expect((await blockscale("quantize", model, whole).ended).code === 0, "one machine converts");
const everything = [];

await check("two workers make the bytes of one machine, and drain on SIGTERM", async () => {
  const out = output();
  const workers = [worker(), worker()];
  const {
    code,
    err,
    out: text,
  } = await blockscale("quantize", model, out, "--queue", address, "--json").ended;
  everything.push(err, text);
  expect(code === 0, err);
  expectSame(out, whole);
  expect(JSON.parse(text).total.converted === 6, text);
  const last = JSON.parse(err.trim().split("\n").at(-1));
  expect(last.jobsDone === 6 && last.done === last.size && last.unit === "bytes", err);
  for (const { code, err } of await Promise.all(workers.map((one) => stop(one)))) {
    everything.push(err);
    expect(code === 0 && /Stopped/.test(err), `${code}: ${err}`);
  }
  const status = await blockscale("status", "--queue", address).ended;
  expect(status.out === "No jobs.\n", status.out);
});

await check("asking twice does nothing twice, and a coordinator that was killed goes on", async () => {
  const out = output();
  const command = ["quantize", model, out, "--queue", address];
  const first = blockscale(...command);
  const second = blockscale(...command);
  while (!/6/.test((await blockscale("status", "--queue", address, "--json").ended).out))
    await setTimeout(100);
  await stop(first, "SIGKILL");
  await stop(second, "SIGKILL");
  const { runs } = JSON.parse((await blockscale("status", "--queue", address, "--json").ended).out);
  expect(runs.length === 1 && runs[0].waiting === 6, JSON.stringify(runs));
  const one = worker();
  const { code, err } = await blockscale(...command).ended;
  const told = (await stop(one)).err;
  expect(code === 0, err);
  expect(told.match(/^done: /gm).length === 6, told);
  expectSame(out, whole);
});

await check("workers refuse places that they may not use, and a folder that is not of the run", async () => {
  const elsewhere = mkdtempSync(join(tmpdir(), "blockscale-elsewhere-"));
  const refusals = async (text, prepare, ...flags) => {
    const out = output();
    const one = blockscale("worker", "--queue", address, "--allow", flags[0] ?? folder, "--jobs", "1");
    const coordinator = blockscale("quantize", model, out, "--queue", address);
    while (!existsSync(join(out, ".blockscale-run/run.json"))) await setTimeout(5);
    prepare(out);
    const { code, err } = await coordinator.ended;
    everything.push(err, (await stop(one)).err);
    expect(code === 1 && text.test(err), err);
    expect(!readdirSync(out).some((name) => name.endsWith(".safetensors")), "something was written");
  };
  await refusals(/places that this worker may use/, () => {}, elsewhere);
  // The folder is no longer that of the run: nothing may be written there.
  await refusals(/output folder of this run/, (out) =>
    rmSync(join(out, ".blockscale-run"), { recursive: true }),
  );
  rmSync(elsewhere, { recursive: true });
});

const evaluated = fileURLToPath(new URL("../evaluate/models/deepseek_v3", import.meta.url));

await check(
  "an evaluation in parts, and by a queue whose workers are killed, has every digit of one machine",
  async () => {
    const codes = output();
    expect((await blockscale("quantize", evaluated, codes).ended).code === 0, "one machine converts");
    const tokens = ["--tokens", join(evaluated, "tokens.safetensors"), "--context", "64", "--json"];
    const command = ["evaluate", codes, "--against", evaluated, ...tokens];
    const figures = (await blockscale(...command).ended).out;
    expect(JSON.parse(figures).tokens === 1024, figures);
    const out = output();
    const part = (i) => blockscale(...command, "--part", `${i}/3`, "--out", out).ended;
    for (const i of [3, 1]) expect((await part(i)).code === 0, `part ${i}`);
    const early = await blockscale("finish", out).ended;
    expect(early.code === 1 && /none of part 2/.test(early.err), early.err);
    await part(2);
    expect(JSON.parse((await part(2)).out).made === false, "a part is done twice");
    expect((await blockscale("finish", out, "--json").ended).out === figures, "parts give other figures");

    const start = () => worker("--allow", evaluated);
    const workers = [start(), start()];
    const queued = blockscale(...command, "--queue", address, "--chunks", "2");
    while (!/"jobsDone":[1-9]/.test(queued.said())) await setTimeout(20);
    await stop(workers[0], "SIGKILL");
    workers[0] = start();
    const { code, err, out: text } = await queued.ended;
    everything.push(err);
    expect(code === 0 && text === figures, `${err}\n${text}\nis not\n${figures}`);
    for (const one of workers) everything.push((await stop(one)).err);
  },
);

await check("no password is ever told", async () => {
  const wrong = `redis://user:s3cret-2@127.0.0.1:${port}`;
  for (const args of [
    ["worker", "--queue", wrong],
    ["status", "--queue", wrong],
    ["status", "--queue", "http://u:s3cret-2@h"],
    ["status", "--queue", "redis://u:s3cret-2@h/?x=1"],
    ["status", "--queue", `rediss://:s3cret-2@127.0.0.1:${port}`],
    ["status", "--queue", "redis://:s3cret-2@127.0.0.1:1"],
  ]) {
    const { code, out, err } = await blockscale(...args).ended;
    everything.push(out, err);
    expect(code === 1 || code === 2, `${args}: ${code}`);
    expect(/^blockscale: --queue: expected/m.test(err), err);
  }
  const found = everything.find((text) => text.includes("s3cret-2") || text.includes(PASSWORD));
  expect(found === undefined, found);
});

/** Files of an output that are there: `list` gives their names. */
async function chaos(large, shards, out, list) {
  const random = randomOf(seed);
  const start = () => blockscale(...command);
  const command = ["quantize", large, out, "--queue", address, "--json"];
  const workers = [worker(), worker(), worker()];
  let coordinator = start();
  const end = Date.now() + 12_000;
  const kills = { workers: 0, redis: 0, coordinator: 0 };
  for (let round = 0; Date.now() < end && (round < 3 || (await list()).length < shards); round++) {
    await setTimeout(300 + 900 * random());
    const i = Math.floor(random() * workers.length);
    await stop(workers[i], "SIGKILL");
    kills.workers++;
    workers[i] = worker();
    if (round === 0) {
      await stop(redis, "SIGKILL");
      await setTimeout(500);
      redis = await startRedis(port, "aof");
      kills.redis++;
      await stop(coordinator, "SIGKILL");
      coordinator = start();
      kills.coordinator++;
    }
  }
  const { code, err } = await coordinator.ended;
  await Promise.all(workers.map((one) => stop(one)));
  expect(code === 0, err);
  expect(kills.workers >= 3 && kills.redis === 1 && kills.coordinator === 1, JSON.stringify(kills));
  console.log(
    `${kills.workers} workers killed, ${JSON.parse(err.trim().split("\n").at(-1)).retries} retries`,
  );
}

const shardsIn = (at) =>
  existsSync(at)
    ? readdirSync(at, { recursive: true }).filter((name) => /\.safetensors($|\/)/.test(name))
    : [];
/** A model, and what one machine makes of it. */
async function converted(shards, size) {
  const [large, wanted] = [makeModel(shards, size), output()];
  expect((await blockscale("quantize", large, wanted).ended).code === 0, "one machine converts");
  return { large, wanted };
}

await check(
  `chaos with seed ${seed}: workers, Redis and the coordinator killed, the same bytes`,
  async () => {
    const { large, wanted } = await converted(40, 1536);
    const out = output();
    await chaos(large, 40, out, () => shardsIn(out));
    expectSame(out, wanted);
  },
);

await check("the same from object storage into object storage", async () => {
  const { large, wanted } = await converted(12, 1536);
  const s3 = await startS3();
  await s3.put(large);
  await chaos("s3://models/large", 12, "s3://models/out", async () =>
    (await s3.names("out/")).filter((name) => name.endsWith(".safetensors")),
  );
  for (const name of readdirSync(wanted))
    expect((await s3.get(`out/${name}`)).equals(readFileSync(join(wanted, name))), `${name} differs`);
  const names = (await s3.names("out/")).map((name) => name.slice("out/".length));
  expect(String(names.sort()) === String(readdirSync(wanted).sort()), names.join(" "));
  await stop(s3.server, "SIGKILL");
});

for (const child of running) child.kill("SIGKILL");
rmSync(folder, { recursive: true, force: true });
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
