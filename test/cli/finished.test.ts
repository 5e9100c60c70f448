import {
  chmodSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { fileWith } from "../support/checkpoint-files.ts";
import { blockscale, expectSameFiles, layer, workplace, writeFileWith } from "../support/cli-runner.ts";

const { folder, makeModel, output } = workplace();
const DONE = { code: 0, err: "", out: expect.stringMatching(/^Already done: .*first rows of each weight/m) };
const WROTE = { code: 0, err: "", out: expect.stringContaining("Wrote ") };
const timesOf = (path: string) => readdirSync(path).map((name) => [name, statSync(join(path, name)).mtimeMs]);

describe("a run over a finished output", () => {
  test("says so, and writes nothing", async () => {
    const [model, out] = [await makeModel(), output()];
    expect(await blockscale("quantize", model, out)).toMatchObject(WROTE);
    const before = timesOf(out);
    expect(await blockscale("quantize", model, out)).toMatchObject(DONE);
    expect(timesOf(out)).toEqual(before);
    const { code, out: json } = await blockscale("quantize", model, out, "--json");
    expect({ code, ...JSON.parse(json) }).toMatchObject({ code: 0, alreadyDone: true, output: out });
    expect(await blockscale("quantize", model, out, "--overwrite")).toMatchObject(WROTE);
  });

  test("of a single file too", async () => {
    const [input, out] = [join(folder, "one.safetensors"), join(folder, "one-fp8.safetensors")];
    await writeFileWith(input, layer(0, 96));
    expect(await blockscale("quantize", input, out)).toMatchObject(WROTE);
    expect(await blockscale("quantize", input, out)).toMatchObject(DONE);
  });

  test("makes it anew after a change of what was read or written", async () => {
    const [model, out, whole] = [await makeModel(), output(), output()];
    expect(await blockscale("quantize", model, out)).toMatchObject(WROTE);
    cpSync(out, whole, { recursive: true });
    const changes: (() => void)[] = [
      () => utimesSync(join(model, "tokenizer.json"), 2e9, 2e9),
      () => writeFileSync(join(out, "config.json"), "{}"),
      () => writeFileSync(join(out, "tokenizer.json"), '{"a": 2.0}'),
      () => {
        const path = join(out, "model-00001-of-00003.safetensors");
        const bytes = readFileSync(path);
        const start = 8 + Number(bytes.readBigUInt64LE(0));
        bytes[start] = bytes[start]! ^ 1;
        writeFileSync(path, bytes);
      },
    ];
    for (const change of changes) {
      change();
      expect(await blockscale("quantize", model, out), String(change)).toMatchObject(WROTE);
      expectSameFiles(out, whole);
    }
  });

  test("makes it anew for another input of the same shapes, whatever its time", async () => {
    const [model, out, fresh] = [await makeModel(), output(), output()];
    expect(await blockscale("quantize", model, out)).toMatchObject(WROTE);
    const path = join(model, "model-00002-of-00003.safetensors");
    const { mtime } = statSync(path);
    const others = layer(1, 96).map((tensor) => ({
      ...tensor,
      bytes: tensor.bytes.map((byte) => byte & 0xbf),
    }));
    await writeFileWith(path, others);
    utimesSync(path, mtime, mtime);
    expect(await blockscale("quantize", model, out)).toMatchObject(WROTE);
    expect(await blockscale("quantize", model, fresh)).toMatchObject(WROTE);
    expectSameFiles(out, fresh);
  });

  test("makes it anew with other options that leave sizes as they are", async () => {
    const [model, out] = [await makeModel(), output()];
    const overrides = join(folder, "overrides.json");
    writeFileSync(
      overrides,
      JSON.stringify([{ pattern: "*.2.mlp.down_proj.weight", scheme: { rounding: "ceil" } }]),
    );
    expect(await blockscale("quantize", model, out)).toMatchObject(WROTE);
    expect(await blockscale("quantize", model, out, "--overrides", overrides)).toMatchObject(WROTE);
  });
});

test("modes of the source are kept: of shards, documents, and what is carried over", async () => {
  const [model, out] = [await makeModel(), output()];
  chmodSync(join(model, "model-00001-of-00003.safetensors"), 0o640);
  chmodSync(join(model, "config.json"), 0o600);
  chmodSync(join(model, "tokenizer.json"), 0o755);
  expect(await blockscale("quantize", model, out)).toMatchObject(WROTE);
  for (const [name, mode] of Object.entries({
    "model-00001-of-00003.safetensors": 0o640,
    "config.json": 0o600,
    "tokenizer.json": 0o755,
  }))
    expect((statSync(join(out, name)).mode & 0o777).toString(8), name).toBe(mode.toString(8));
});

test("FP8 that stays the same is not called converted", async () => {
  const [model, out, again] = [await makeModel(), output(), output()];
  expect(await blockscale("quantize", model, out)).toMatchObject(WROTE);
  const { out: json } = await blockscale("quantize", out, again, "--json");
  const { total, tensors } = JSON.parse(json);
  expect(total.converted).toBe(0);
  expect(tensors.filter(({ reason }: { reason: string }) => reason === "stored so already")).toHaveLength(6);
  expectSameFiles(again, out);
  const { out: other } = await blockscale("quantize", out, output(), "--to", "deepseek-v4", "--json");
  expect(JSON.parse(other).total.converted).toBe(6);
});

test("a server that falls silent after the conversion costs the report, and not the output", async () => {
  const file = new Uint8Array(await fileWith(layer(0, 128)).arrayBuffer());
  const out = join(folder, "from-web.safetensors");
  const server = createServer((request, response) => {
    // The output is whole: what is read from now on is for the report.
    if (existsSync(out)) return void response.writeHead(404).end();
    const [, start, end] = /bytes=(\d+)-(\d+)/.exec(request.headers.range!)!.map(Number) as [
      number,
      number,
      number,
    ];
    const stop = Math.min(end + 1, file.length);
    response.writeHead(206, { "content-range": `bytes ${start}-${stop - 1}/${file.length}` });
    response.end(file.subarray(start, stop));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/model.safetensors`;
  const report = join(folder, "report.html");
  const result = await blockscale("quantize", address, out, "--report", report);
  server.close();
  expect(result).toEqual({
    code: 0,
    out: expect.stringContaining("Wrote "),
    err: expect.stringMatching(
      /^blockscale: the output is whole, but there is no report of it: .*status 404.*\n$/,
    ),
  });
  expect(existsSync(report)).toBe(false);
});

test("- as OUT is refused, since it is no standard output", async () => {
  expect(await blockscale("quantize", await makeModel(), "-")).toMatchObject({
    code: 2,
    err: expect.stringContaining("standard output"),
  });
  expect(existsSync("-")).toBe(false);
});
