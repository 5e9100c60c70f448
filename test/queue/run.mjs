// Conversions, evaluations and training by several machines, with a real Redis: node test/queue/run.mjs [seed]. Ends with `N passed, N failed`.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Queue } from "bullmq";
import { Redis } from "ioredis";
import { freePort } from "../support/free-port.mjs";
import { makeCertificates, startSecure } from "./certificates.mjs";
import { installDashboard, showOn } from "./dashboard.mjs";
import {
  blockscale,
  blockscaleWith,
  check,
  everything,
  expect,
  expectSame,
  finish,
  folder,
  HUB_TOKEN,
  installRedis,
  makeModel,
  output,
  PASSWORD,
  randomOf,
  S3_KEY,
  startRedis,
  startS3,
  stop,
} from "./support.mjs";
import { checkTraining } from "./training.mjs";

const seed = Number(process.argv[2] ?? 19);
installRedis();
// It takes its time, and is needed last.
const dashboard = installDashboard(folder);
dashboard.catch(() => {});
const port = await freePort();
const address = `redis://:${PASSWORD}@127.0.0.1:${port}`;
let redis = await startRedis(port, "aof");
const certificates = makeCertificates(folder, "localhost");
/** Trusts the authority of the test. */
const trusting = { NODE_EXTRA_CA_CERTS: certificates.ca };
const worker = (...flags) =>
  blockscale(
    "worker",
    "--queue",
    address,
    "--allow",
    folder,
    "--allow",
    "s3://models/",
    "--threads",
    "1",
    "--stalled-after",
    "3",
    ...flags,
  );
const model = makeModel(6, 512);
const whole = output();
expect((await blockscale("quantize", model, whole).ended).code === 0, "one machine converts");

await check("two workers make the bytes of one machine, and drain on SIGTERM", async () => {
  const out = output();
  const workers = [worker(), worker()];
  const {
    code,
    err,
    out: text,
  } = await blockscale("quantize", model, out, "--queue", address, "--json").ended;
  expect(code === 0, err);
  expectSame(out, whole);
  expect(JSON.parse(text).total.converted === 6, text);
  const last = JSON.parse(err.trim().split("\n").at(-1));
  expect(last.jobsDone === 6 && last.done === last.size && last.unit === "bytes", err);
  for (const { code, err } of await Promise.all(workers.map((one) => stop(one)))) {
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
  const known = async () =>
    JSON.parse((await blockscale("status", "--queue", address, "--json").ended).out).runs;
  while ((await known())[0]?.waiting !== 6) await setTimeout(100);
  await stop(first, "SIGKILL");
  await stop(second, "SIGKILL");
  const runs = await known();
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
  // Each case in a database of its own, since the tries of both take some seconds.
  const refused = async (database, text, prepare, allowed) => {
    const queue = ["--queue", `${address}/${database}`];
    const out = output();
    const coordinator = blockscale("quantize", model, out, ...queue);
    while (!existsSync(join(out, ".blockscale-run/run.json"))) await setTimeout(5);
    prepare(out);
    const one = blockscale("worker", ...queue, "--allow", allowed, "--threads", "1");
    const { code, err } = await coordinator.ended;
    await stop(one);
    expect(code === 1 && text.test(err), err);
    expect(!readdirSync(out).some((name) => name.endsWith(".safetensors")), "something was written");
  };
  // The folder is no longer that of the run: nothing may be written there.
  const forget = (out) => rmSync(join(out, ".blockscale-run"), { recursive: true });
  await Promise.all([
    refused(1, /places that this worker may use/, () => {}, elsewhere),
    refused(2, /output folder of this run/, forget, folder),
  ]);
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
    for (const { code, err } of await Promise.all([3, 1].map(part))) expect(code === 0, err);
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
    expect(code === 0 && text === figures, `${err}\n${text}\nis not\n${figures}`);
    for (const one of workers) await stop(one);
  },
);

/** Kills one of some workers while it has a job. @returns which */
async function killBusy(workers) {
  const queue = new Queue("blockscale", { connection: { host: "127.0.0.1", port, password: PASSWORD } });
  const isBusy = ({ child }, active) => active.some((job) => job?.processedBy?.includes(`-${child.pid}-`));
  for (;;) {
    const active = await queue.getActive();
    const i = workers.findIndex((one) => isBusy(one, active));
    // What stands still keeps its job.
    workers[i]?.child.kill("SIGSTOP");
    if (i >= 0 && isBusy(workers[i], await queue.getActive())) {
      await stop(workers[i], "SIGKILL");
      await queue.close();
      return i;
    }
    workers[i]?.child.kill("SIGCONT");
    await setTimeout(20);
  }
}

/**
 * Kills workers at random, and Redis and the coordinator once, while a conversion goes on.
 * @param list gives the names of the files of the output that are there
 * @param aof where Redis keeps what it has when it comes back: elsewhere, and it has lost everything
 */
async function chaos(large, shards, out, list, aof = "aof") {
  const random = randomOf(seed);
  const start = () => blockscale(...command);
  const command = ["quantize", large, out, "--queue", address, "--json"];
  const workers = [worker(), worker(), worker()];
  // One that begins while Redis is away says so and ends.
  const replaceEnded = () =>
    workers.forEach((one, i) => {
      if (one.child.exitCode !== null) workers[i] = worker();
    });
  let coordinator = start();
  workers[await killBusy(workers)] = worker();
  await stop(redis, "SIGKILL");
  await setTimeout(500);
  redis = await startRedis(port, aof);
  await stop(coordinator, "SIGKILL");
  coordinator = start();
  const end = Date.now() + 12_000;
  let killed = 1;
  for (let round = 0; round < 2 || (Date.now() < end && (await list()).length < shards); round++) {
    const i = Math.floor(random() * workers.length);
    // One that has begun: it has a job, or is about to take one.
    for (replaceEnded(); !/Waiting for jobs/.test(workers[i].said()); replaceEnded()) await setTimeout(20);
    await setTimeout(300 + 900 * random());
    await stop(workers[i], "SIGKILL");
    killed++;
    workers[i] = worker();
  }
  const { code, err } = await coordinator.ended;
  await Promise.all(workers.map((one) => stop(one)));
  expect(code === 0, err);
  const { retries } = JSON.parse(err.trim().split("\n").at(-1));
  console.log(`${killed} workers killed, ${retries} retries`);
  return retries;
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
    const { large, wanted } = await converted(24, 1536);
    const out = output();
    expect((await chaos(large, 24, out, () => shardsIn(out))) > 0, "no worker lost a job");
    expectSame(out, wanted);
  },
);

await check(
  "the same from and into object storage that fails now and then, and a Redis that loses everything",
  async () => {
    const { large, wanted } = await converted(12, 1536);
    const s3 = await startS3(randomOf(seed));
    await s3.put(large);
    const list = async () => (await s3.names("out/")).filter((name) => name.endsWith(".safetensors"));
    await chaos("s3://models/large", 12, "s3://models/out", list, "aof-of-another");
    for (const name of readdirSync(wanted))
      expect((await s3.get(`out/${name}`)).equals(readFileSync(join(wanted, name))), `${name} differs`);
    const names = (await s3.names("out/")).map((name) => name.slice("out/".length));
    expect(String(names.sort()) === String(readdirSync(wanted).sort()), names.join(" "));
    console.log(`faults of storage: ${JSON.stringify(s3.faults)}`);
    expect(
      Object.values(s3.faults).every((count) => count > 0),
      "a fault never happened",
    );

    const endpoint = `https://localhost:${await startSecure(certificates, s3.port)}`;
    const inspect = (env) =>
      blockscaleWith({ ...env, AWS_ENDPOINT_URL: endpoint }, "inspect", "s3://models/large").ended;
    const [trusted, refused] = await Promise.all([inspect(trusting), inspect({})]);
    expect(trusted.code === 0 && /BF16/.test(trusted.out), trusted.err);
    expect(refused.code === 1 && /a certificate that is not trusted/.test(refused.err), refused.err);
    await stop(s3.server, "SIGKILL");
  },
);

await check("TLS with a certificate of one's own, and no other is taken", async () => {
  const securePort = await freePort();
  const tls = ["--tls-port", securePort, ...certificates.flags];
  const secure = await startRedis(await freePort(), "aof-of-tls", tls);
  const queue = ["--queue", `rediss://:${PASSWORD}@localhost:${securePort}`];
  const out = output();
  const one = blockscaleWith(trusting, "worker", ...queue, "--allow", folder, "--threads", "1");
  const { code, err } = await blockscaleWith(trusting, "quantize", model, out, ...queue).ended;
  expect(code === 0, err);
  expectSame(out, whole);
  await stop(one);
  const refusals = [
    [{}, queue[1], /certificate/],
    [trusting, queue[1].replace("localhost", "127.0.0.1"), /does not match certificate/],
  ];
  for (const [env, place, why] of refusals) {
    const refused = await blockscaleWith(env, "status", "--queue", place).ended;
    expect(refused.code === 1 && why.test(refused.err), refused.err);
    expect(!/Warning/.test(refused.err), refused.err);
  }
  await stop(secure);
});

await check("bull-board shows a job: its name, data, progress, result and error", async () => {
  const queue = new Queue("blockscale", { connection: { host: "127.0.0.1", port, password: PASSWORD } });
  const out = output();
  const coordinator = blockscale("quantize", model, out, "--queue", address);
  while ((await queue.getJobCounts("waiting")).waiting < 6) await setTimeout(50);
  // The coordinator would take them away when all are done.
  await stop(coordinator, "SIGKILL");
  await queue.add("quantize", { not: "ours" }, { jobId: "stranger" });
  const one = worker();
  const counts = () => queue.getJobCounts("completed", "failed");
  while ((await counts()).completed < 6 || (await counts()).failed < 1) await setTimeout(50);
  await stop(one);
  const { page, shown } = await showOn(await dashboard, queue, ["completed", "failed"]);
  expect(/<title>Bull Dashboard/.test(page), page.slice(0, 300));
  const { completed, failed } = shown;
  expect(
    completed.name === "blockscale" && completed.counts.completed === 6,
    JSON.stringify(completed.counts),
  );
  expect(completed.jobs.length === 6 && failed.jobs.length === 1, "it does not show all jobs");
  for (const { name, data, progress, returnValue } of completed.jobs)
    expect(
      name === "quantize" &&
        data.spec.from === model &&
        data.to === out &&
        progress.worker !== undefined &&
        progress.progress >= 0 &&
        returnValue.sha256.length === 64,
      JSON.stringify({ name, data, progress, returnValue }),
    );
  const [{ failedReason }] = failed.jobs;
  expect(/a job of the queue: expected/.test(failedReason), failedReason);
  await queue.obliterate({ force: true });
  await queue.close();
});

await check("jobs of strangers fail, and stop neither worker nor status", async () => {
  const queue = new Queue("blockscale", { connection: { host: "127.0.0.1", port, password: PASSWORD } });
  // What has no text made status and the worker's messages fail.
  const odd = { toString: 1 };
  const strangers = [
    null,
    "x",
    [1],
    { file: odd },
    { spec: { from: odd }, to: odd },
    { spec: { model: odd } },
  ];
  await queue.addBulk(
    strangers.map((data, i) => ({ name: "quantize", data, opts: { jobId: `stranger-${i}` } })),
  );
  const one = worker();
  while ((await queue.getJobCounts("failed")).failed < strangers.length) await setTimeout(50);
  const known = await blockscale("status", "--queue", address).ended;
  expect(known.code === 0 && /\| unknown +\| unknown +\|/.test(known.out), known.err + known.out);
  const client = new Redis({ host: "127.0.0.1", port, password: PASSWORD });
  await client.hset("bull:blockscale:damaged", { name: "x", data: "{", opts: "{}", timestamp: 1 });
  await client.lpush("bull:blockscale:wait", "damaged");
  const damaged = await blockscale("status", "--queue", address).ended;
  expect(damaged.code === 1 && /^blockscale: --queue: .*jobs of JSON/.test(damaged.err), damaged.err);
  const { code, err } = await stop(one);
  expect(code === 0 && !/primitive value/.test(err), err);
  client.disconnect();
  await queue.obliterate({ force: true });
  await queue.close();
});

await checkTraining(port);

await check("no secret is told, or kept by Redis", async () => {
  const wrong = `redis://user:s3cret-2@127.0.0.1:${port}`;
  const refused = [
    ["worker", "--queue", wrong],
    ["status", "--queue", wrong],
    ["status", "--queue", "http://u:s3cret-2@h"],
    ["status", "--queue", "redis://u:s3cret-2@h/?x=1"],
    ["status", "--queue", `rediss://:s3cret-2@127.0.0.1:${port}`],
    ["status", "--queue", "redis://:s3cret-2@127.0.0.1:1"],
    ["quantize", "https://u:s3cret-2@example.org/m", "out", "--queue", address],
    ["evaluate", "https://example.org/m?key=s3cret-2", "--text", "t", "--queue", address],
  ].map((args) => blockscale(...args).ended);
  for (const { code, err } of await Promise.all(refused)) {
    expect(code === 1 || code === 2, `${code}: ${err}`);
    expect(/^blockscale: (--queue|IN): expected/m.test(err), err);
  }
  const secrets = ["s3cret-2", PASSWORD, HUB_TOKEN, S3_KEY];
  const kept = readdirSync(folder, { recursive: true }).filter((name) => /^aof.*\//.test(name));
  expect(kept.length > 3, `Redis keeps nothing: ${kept}`);
  for (const name of kept) everything.push(readFileSync(join(folder, name), "latin1"));
  const found = everything.find((text) => secrets.some((secret) => text.includes(secret)));
  expect(found === undefined, found?.slice(0, 1000));
  expect(
    everything.some((text) => text.includes('"fingerprint"')),
    "what Redis keeps is not what was looked at",
  );
});

finish();
