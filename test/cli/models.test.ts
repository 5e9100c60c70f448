import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import OpenAI from "openai";
import { describe, expect, test } from "vitest";
import { openModel } from "../../src/model/open.ts";
import { blockscale, CLI, start, temporaryFolder } from "../support/cli-runner.ts";
import { filesOf } from "../support/models.ts";
import { tokenizerFiles } from "../support/tokenizer-files.ts";

const folder = temporaryFolder();

/** A model with a vocabulary, in a folder; cut to where a test can reach. */
async function folderOf(name: string): Promise<string> {
  const { mkdirSync } = await import("node:fs");
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  for (const [file, blob] of [...filesOf(name), ...tokenizerFiles()])
    writeFileSync(join(path, file), Buffer.from(await blob.arrayBuffer()));
  return path;
}

describe("generate", () => {
  test("prints the same tokens as the API, from an argument, from ids and from standard input", async () => {
    const path = await folderOf("qwen3");
    const model = await openModel(new Map([...filesOf("qwen3"), ...tokenizerFiles()]));
    const expected: number[] = [];
    for await (const { id } of model.generate("the end", { temperature: 0, maxTokens: 8 }))
      if (id >= 0) expected.push(id);
    const prompt = [...model.tokenizer!.encode("the end")];
    await model.close();
    const options = ["--json", "--temperature", "0", "--max-tokens", "8"];
    for (const threads of ["1", "2"]) {
      const { code, out, err } = await blockscale(
        "generate",
        path,
        "the end",
        ...options,
        "--threads",
        threads,
      );
      expect([code, err]).toEqual([0, ""]);
      const record = JSON.parse(out);
      expect(record.ids).toEqual(expected);
      expect(record.promptTokens).toBe(prompt.length);
      expect(record.logProbabilities.length).toBe(8);
      expect(record.tokensPerSecond).toBeGreaterThan(0);
    }
    const fromIds = await blockscale("generate", path, "--ids", prompt.join(","), ...options);
    expect(JSON.parse(fromIds.out).ids).toEqual(expected);
    const { child, ended } = start(["generate", path, ...options]);
    child.stdin!.end("the end\n");
    expect(JSON.parse((await ended).out).ids).toEqual(expected);
  });

  test("says what is wrong, and nothing else", async () => {
    const path = await folderOf("qwen3");
    const wrong = await blockscale("generate", path, "--ids", "1 x");
    expect([wrong.code, wrong.out]).toEqual([2, ""]);
    expect(wrong.err).toMatch(/--ids/);
    expect((await blockscale("generate", path, "a", "--temperature", "hot")).code).toBe(2);
    const far = await blockscale("generate", path, "--ids", "9999");
    expect(far.err).toMatch(/token 0: expected a whole number from 0 to 319/);
    expect((await blockscale("generate", join(folder, "nowhere"), "a")).code).toBe(1);
    const encoder = await folderOf("bert");
    expect((await blockscale("generate", encoder, "a")).err).toMatch(/encoder/);
  });
});

test("embed writes JSON lines and .npy, a vector a line", async () => {
  const path = await folderOf("bert");
  const input = join(folder, "lines.txt");
  writeFileSync(input, "the end\nin\n");
  const { code, out } = await blockscale("embed", path, "--input", input);
  expect(code).toBe(0);
  const vectors = out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as number[]);
  expect(vectors.map((vector) => vector.length)).toEqual([128, 128]);
  for (const vector of vectors) expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
  const output = join(folder, "vectors.npy");
  expect((await blockscale("embed", path, "--input", input, "--output", output)).code).toBe(0);
  const bytes = readFileSync(output);
  expect(bytes.subarray(1, 6).toString("latin1")).toBe("NUMPY");
  const start = 10 + bytes.readUInt16LE(8);
  expect(start % 64).toBe(0);
  expect(bytes.subarray(10, start).toString("latin1")).toMatch(/'descr': '<f4'.*'shape': \(2, 128\)/);
  const values = new Float32Array(
    bytes.buffer.slice(bytes.byteOffset + start, bytes.byteOffset + bytes.length),
  );
  expect([...values]).toEqual(vectors.flat().map(Math.fround));
  const raw = await blockscale("embed", path, "--input", input, "--no-normalize", "--pooling", "cls");
  expect(Math.hypot(...(JSON.parse(raw.out.split("\n")[0]!) as number[]))).toBeGreaterThan(2);
});

test("chat in a terminal: an answer, one that Ctrl-C stops, and the end", { timeout: 60_000 }, async () => {
  const path = await folderOf("llama");
  // `script` gives the program a terminal of its own.
  const command = `${process.execPath} ${CLI} chat ${path} --threads 1 --max-tokens 400 --seed 1`;
  const child = spawn("script", ["-qefc", command, "/dev/null"], { stdio: ["pipe", "pipe", "inherit"] });
  let seen = "";
  child.stdout.on("data", (data) => {
    seen += data;
  });
  const until = async (pattern: RegExp) => {
    const end = Date.now() + 20_000;
    while (!pattern.test(seen)) {
      if (Date.now() > end) throw new Error(`no ${pattern} in ${JSON.stringify(seen)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  await until(/\/reset begins anew/);
  await until(/> /);
  seen = "";
  child.stdin.write("in the end\r");
  await until(/in the end[\s\S]+\n/);
  child.stdin.write("\u0003");
  await until(/\n[^\n]*> [^\n]*$/);
  seen = "";
  child.stdin.write("/exit\r");
  const code = await new Promise((resolve) => child.on("close", resolve));
  expect(code).toBe(0);
});

test("chat goes on after a message that the context does not hold", { timeout: 60_000 }, async () => {
  const path = await folderOf("llama");
  const { child, ended } = start(["chat", path, "--threads", "1", "--max-tokens", "3", "--seed", "1"]);
  child.stdin!.end(`${"in ".repeat(600)}\nin the end\n/exit\n`);
  const { code, out, err } = await ended;
  expect(code).toBe(0);
  expect(err).toMatch(/at most 512 tokens.*\n\/reset begins anew\./);
  // The answer to the second message follows its prompt.
  expect(out).toMatch(/> > [\s\S]+\n> $/);
});

describe("serve", () => {
  /** Runs the server while something is asked of it. */
  async function serving(name: string, action: (url: string) => Promise<void>): Promise<void> {
    const path = await folderOf(name);
    const { child, ended } = start(["serve", path, "--port", "0", "--threads", "2", "--max-tokens", "12"]);
    try {
      const url = await new Promise<string>((resolve, reject) => {
        child.stderr!.on("data", (text: Buffer) => {
          const found = /http:\S+/.exec(text.toString())?.[0];
          if (found) resolve(found);
        });
        child.on("close", () => reject(new Error("it ended")));
      });
      await action(url);
    } finally {
      child.kill("SIGINT");
    }
    expect((await ended).code).toBe(0);
  }

  test("answers the official client: chat, completions, streams, usage, models", async () => {
    await serving("qwen3", async (baseURL) => {
      const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
      expect((await client.models.list()).data.map(({ id }) => id)).toEqual(["qwen3"]);
      const messages = [{ role: "user", content: "in the end" }] as const;
      const settings = { model: "qwen3", temperature: 0, max_tokens: 10 } as const;
      const whole = await client.chat.completions.create({ ...settings, messages: [...messages] });
      expect(whole.usage!.completion_tokens).toBe(10);
      expect(whole.choices[0]!.finish_reason).toBe("length");
      const stream = await client.chat.completions.create({
        ...settings,
        messages: [...messages],
        stream: true,
        stream_options: { include_usage: true },
      });
      let text = "";
      let usage = 0;
      let reason: string | null = null;
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? "";
        reason = chunk.choices[0]?.finish_reason ?? reason;
        usage = chunk.usage?.completion_tokens ?? usage;
      }
      expect([text, usage, reason]).toEqual([whole.choices[0]!.message.content, 10, "length"]);
      const completion = await client.completions.create({ ...settings, prompt: "in the end" });
      expect(completion.choices[0]!.text.length).toBeGreaterThan(0);
      const parts = await client.completions.create({ ...settings, prompt: [258, 259], stream: true });
      let streamed = "";
      for await (const chunk of parts) streamed += chunk.choices[0]!.text;
      expect(streamed.length).toBeGreaterThan(0);
      // Several at once wait for one another.
      const many = await Promise.all(
        [1, 2, 3].map(() => client.completions.create({ ...settings, prompt: "in the end" })),
      );
      for (const one of many) expect(one.choices[0]!.text).toBe(completion.choices[0]!.text);
      const short = await client.completions.create({
        ...settings,
        prompt: "a",
        max_tokens: 40,
        stop: [completion.choices[0]!.text.slice(2, 4)],
      });
      expect(short.choices[0]!.text).not.toContain(completion.choices[0]!.text.slice(2, 4));
    });
  });

  test("refuses what is wrong with a clear 4xx, and goes on", async () => {
    await serving("llama", async (url) => {
      const post = async (path: string, body: unknown) => {
        const response = await fetch(url + path, {
          method: "POST",
          body: typeof body === "string" ? body : JSON.stringify(body),
        });
        return [response.status, (await response.text()).slice(0, 300)] as const;
      };
      const bad: [string, unknown, number][] = [
        ["/chat/completions", "{", 400],
        ["/chat/completions", [], 400],
        ["/chat/completions", {}, 400],
        ["/chat/completions", { messages: [{ role: 1, content: "a" }] }, 400],
        ["/chat/completions", { messages: [{ role: "user", content: [{ type: "image_url" }] }] }, 400],
        ["/chat/completions", { messages: [{ role: "user", content: "a" }], tools: [{}] }, 400],
        ["/completions", { prompt: [400] }, 400],
        ["/completions", { prompt: "" }, 400],
        ["/completions", { prompt: "a", temperature: "x" }, 400],
        ["/completions", { prompt: "a", temperature: -1 }, 400],
        ["/completions", { prompt: "a", temperature: -1, stream: true }, 400],
        ["/completions", { prompt: "a", n: 2 }, 400],
        ["/completions", { prompt: "a".repeat(2000) }, 400],
        ["/completions", { prompt: "a".repeat(2 ** 21) }, 413],
        ["/nowhere", {}, 404],
      ];
      for (const [path, body, status] of bad) {
        const [found, text] = await post(path, body);
        expect([found, text], path).toEqual([status, expect.stringContaining('"error"')]);
        expect(JSON.parse(text).error.message.length).toBeGreaterThan(5);
      }
      // A field is called what the request calls it.
      for (const field of ["max_tokens", "max_completion_tokens", "top_p", "top_k", "min_p", "temperature"]) {
        const { error } = JSON.parse((await post("/completions", { prompt: "a", [field]: -1.5 }))[1]);
        expect(error.param).toBe(field);
        expect(error.message).toMatch(new RegExp(`^${field} has to be a .*number.*, and not -1.5\\.$`));
      }
      expect((await fetch(`${url}/completions`)).status).toBe(405);
      // Someone who hangs up does not stop the next one.
      const controller = new AbortController();
      const left = fetch(`${url}/completions`, {
        method: "POST",
        body: JSON.stringify({ prompt: "a", max_tokens: 400, stream: true }),
        signal: controller.signal,
      });
      await (await left).body!.getReader().read();
      controller.abort();
      const [status] = await post("/completions", { prompt: "a", max_tokens: 2 });
      expect(status).toBe(200);
    });
  });

  test("embeds, as numbers and as the client's base64", async () => {
    await serving("bert", async (baseURL) => {
      const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
      const found = await client.embeddings.create({ model: "bert", input: ["the end", "in"] });
      const floats = await client.embeddings.create({
        model: "bert",
        input: "the end",
        encoding_format: "float",
      });
      expect(found.data.length).toBe(2);
      expect(floats.data[0]!.embedding.length).toBe(128);
      for (const [i, value] of found.data[0]!.embedding.entries())
        expect(value).toBeCloseTo(floats.data[0]!.embedding[i]!, 5);
      expect(found.usage.prompt_tokens).toBeGreaterThan(2);
      await expect(client.completions.create({ model: "bert", prompt: "a" })).rejects.toThrow(/encoder/);
    });
  });
});
