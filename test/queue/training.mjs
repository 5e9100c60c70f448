// Training on several machines, by real processes that meet on a real Redis. Part of test/queue/run.mjs; by
// itself: node test/queue/training.mjs.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { freePort } from "../support/free-port.mjs";
import {
  blockscale,
  check,
  expect,
  finish,
  folder,
  installRedis,
  output,
  PASSWORD,
  startRedis,
  stop,
} from "./support.mjs";

/** A Llama of 33,120 parameters and some text. */
const config = join(folder, "config.json");
const text = join(folder, "text.txt");
const [STEPS, EVERY] = [40, 4];

function prepare() {
  writeFileSync(
    config,
    JSON.stringify({
      architectures: ["LlamaForCausalLM"],
      hidden_size: 32,
      intermediate_size: 64,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      num_key_value_heads: 2,
      head_dim: 16,
      rms_norm_eps: 1e-6,
      tie_word_embeddings: false,
      hidden_act: "silu",
    }),
  );
  writeFileSync(
    text,
    "In the beginning was the word, and the word was in a block of thirty-two. ".repeat(60),
  );
}

const command = (out, ...more) => [
  ...["train", text, out, "--config", config, "--batch", "6", "--context", "32", "--json"],
  ...["--steps", String(STEPS), "--every", String(EVERY), ...more],
];

const rank = (address, out, rank, size, ...more) =>
  blockscale(
    ...command(out, "--queue", address, "--rank", String(rank), "--world-size", String(size)),
    ...["--timeout", "60", ...more],
  );

/** The results of ranks that end well. */
async function results(ranks) {
  const ended = await Promise.all(ranks.map(({ ended }) => ended));
  for (const { code, err } of ended) expect(code === 0, `${code}: ${err}`);
  return ended.map(({ out }) => JSON.parse(out));
}

const lossesOf = (out) => JSON.parse(readFileSync(join(out, "training.json"), "utf8")).losses;
const weightsOf = (out) => readFileSync(join(out, "model.safetensors"));
const apart = (a, b) => Math.max(...a.map((value, i) => Math.abs(value - b[i])));

/** The checks, on the Redis at a port. */
export async function checkTraining(port) {
  prepare();
  const address = `redis://:${PASSWORD}@127.0.0.1:${port}`;
  const client = new Redis({ host: "127.0.0.1", port, password: PASSWORD });
  const bytesIn = async () => Number(/total_net_input_bytes:(\d+)/.exec(await client.info("stats"))[1]);
  let rounded;
  const ask = async (key, process) => {
    const end = Date.now() + 60_000;
    for (;;) {
      const value = await client.get(key);
      if (value !== null) return value;
      expect(Date.now() < end, `no ${key}: ${process.said()}`);
      await setTimeout(20);
    }
  };

  await check("two and three machines train as one: the same weights on each, and close losses", async () => {
    const aloneBy = new Map();
    for (const size of [2, 3]) {
      const out = output();
      aloneBy.set(size, { out, process: blockscale(...command(out, "--micro-batches", String(size))) });
    }
    for (const [size, format] of [
      [2, "f32"],
      [2, "fp8"],
      [3, "fp8"],
    ]) {
      const out = output();
      const before = await bytesIn();
      const ranks = Array.from({ length: size }, (_, i) =>
        rank(address, out, i, size, "--gradients", format),
      );
      const found = await results(ranks);
      const wire = (await bytesIn()) - before;
      const alone = aloneBy.get(size);
      const ended = await alone.process.ended;
      expect(ended.code === 0, ended.err);
      for (const { weights, loss, bytes } of found) {
        expect(weights === found[0].weights && loss === found[0].loss, "ranks differ");
        expect(bytes.received === bytes.sent * (size - 1), JSON.stringify(bytes));
      }
      const [losses, expected] = [lossesOf(out), lossesOf(alone.out)];
      const distance = apart(losses, expected);
      const step = Math.round(found[0].bytes.sent / STEPS);
      console.log(
        `  ${size} ranks, ${format}: ${step} bytes a rank and step, losses within ${distance.toExponential(1)} of one machine`,
      );
      expect(losses.length === STEPS && losses.at(-1) < losses[0] - 0.1, `it does not learn: ${losses}`);
      // Sums in another order change last bits first, and later which way an operand is rounded.
      if (format === "f32") expect(apart(losses.slice(0, 10), expected) < 1e-6, String(losses));
      expect(distance < (format === "f32" ? 0.005 : 0.05), `${losses}\n${expected}`);
      // Redis has taken in each rank's gradients once. The rest are questions, of which slow machines ask more.
      const all = found[0].bytes.sent * size;
      expect(wire >= all && wire < 2 * all, `${wire} bytes for ${all}`);
      if (size === 2 && format === "fp8") rounded = out;
    }
  });

  await check(
    "a machine that is cut off stops the others in time, and all go on from the last checkpoint",
    async () => {
      const out = output();
      // Threads change nothing of the result.
      const start = () => [0, 1].map((i) => rank(address, out, i, 2, "--threads", "2"));
      const [first, second] = start();
      const end = Date.now() + 60_000;
      while (
        !readdirSync(folder).includes(out.slice(folder.length + 1)) ||
        !readdirSync(out).includes(`checkpoint-${EVERY}`)
      ) {
        expect(Date.now() < end, `no checkpoint: ${first.said()} ${second.said()}`);
        await setTimeout(5);
      }
      // To the others this is what a machine that dies, or whose network is cut off, looks like: its connection stays open.
      second.child.kill("SIGSTOP");
      const { code, err } = await first.ended;
      expect(code === 1 && /rank 1: expected a heartbeat of it on Redis/.test(err), `${code}: ${err}`);
      second.child.kill("SIGCONT");
      const late = await second.ended;
      expect(late.code === 1 && /rank 0: expected it to go on/.test(late.err), `${late.code}: ${late.err}`);
      expect(
        readdirSync(out).some((name) => /^checkpoint-\d+$/.test(name)),
        "no checkpoint is left",
      );
      await results(start());
      expect(
        weightsOf(out).equals(weightsOf(rounded)),
        "it does not end with the bytes of a run without a break",
      );
      expect(String(lossesOf(out)) === String(lossesOf(rounded)), "losses differ");
    },
  );

  await check(
    "machines of another text, format or number, and strangers' gradients, are refused",
    async () => {
      const refused = async (ranks, why) => {
        for (const { code, err } of await Promise.all(ranks.map(({ ended }) => ended)))
          expect((code === 1 || code === 2) && why.test(err), `${code}: ${err}`);
      };
      const out = output();
      await refused(
        [rank(address, out, 0, 2), rank(address, out, 1, 2, "--gradients", "f32")],
        /the options of rank 0/,
      );
      const leader = rank(address, output(), 0, 2);
      const session = await ask("blockscale:train:session", leader);
      // It has read the text by then.
      await ask(`blockscale:train:${session}:progress`, leader);
      await refused([rank(address, out, 0, 2)], /one training run on a database of Redis/);
      const words = readFileSync(text, "utf8");
      writeFileSync(text, words.replaceAll("word", "work"));
      await refused([leader, rank(address, out, 1, 2)], /the text of rank 0/);
      writeFileSync(text, words);
      await refused([rank(address, out, 1, 2, "--timeout", "2")], /rank 0: expected it to come within 2 s/);
      await refused([rank(address, out, 2, 2)], /a --rank from 0 to N - 1/);
      await refused([rank(address, out, 0, 4)], /a --batch that 4 ranks/);

      // One that fails before it has met rank 0 tells it nevertheless.
      const waiting = rank(address, out, 0, 2);
      await ask("blockscale:train:session", waiting);
      await refused([rank(address, out, 1, 2, "--tokenizer", "missing.json")], /missing\.json/);
      await refused([waiting], /rank 1: expected it to go on, got it stopped: missing\.json/);

      // Somebody else plays rank 1.
      const victim = rank(address, out, 0, 2);
      const taken = await ask("blockscale:train:session", victim);
      await client.set(`blockscale:train:${taken}:hello:1`, "{");
      await refused([victim], /rank 1: expected what it is about to train/);
      const stopped = JSON.parse(await client.get(`blockscale:train:${taken}:stop`));
      expect(
        stopped.rank === 0 && (await client.get("blockscale:train:session")) === null,
        JSON.stringify(stopped),
      );
    },
  );

  await check("status shows a training, and a machine that is told to stop tells the others", async () => {
    const out = output();
    const ranks = [0, 1].map((i) => rank(address, out, i, 2, "--steps", "100000"));
    const status = async (...flags) => (await blockscale("status", "--queue", address, ...flags).ended).out;
    const end = Date.now() + 60_000;
    let training;
    do {
      expect(Date.now() < end, `${JSON.stringify(training)}: ${ranks.map((one) => one.said()).join()}`);
      await setTimeout(5);
      ({ training } = JSON.parse(await status("--json")));
    } while (!(training?.step > 0));
    expect(training.out === out && training.size === 2 && training.present === 2, JSON.stringify(training));
    expect(training.steps === 100_000 && training.loss > 0, JSON.stringify(training));
    const told = await stop(ranks[1]);
    expect(told.code === 143, `${told.code}: ${told.err}`);
    const { code, err } = await ranks[0].ended;
    expect(
      code === 1 && /rank 1: expected it to go on, got it stopped: .*SIGTERM/.test(err),
      `${code}: ${err}`,
    );
    expect((await status()) === "No jobs.\n", "a training that has ended is shown");
  });

  await check("a Redis that has forgotten the run stops it", async () => {
    const out = output();
    const ranks = [0, 1].map((i) => rank(address, out, i, 2, "--steps", "100000"));
    const session = await ask("blockscale:train:session", ranks[0]);
    await ask(`blockscale:train:${session}:go`, ranks[0]);
    await client.flushdb();
    for (const { code, err } of await Promise.all(ranks.map(({ ended }) => ended)))
      expect(code === 1 && /a Redis that has forgotten it|it stopped/.test(err), `${code}: ${err}`);
  });
  client.disconnect();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  installRedis();
  const port = await freePort();
  await startRedis(port, "aof");
  await checkTraining(port);
  finish();
}
