import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { createS3, openS3, openS3Folder } from "../../src/io/s3.ts";
import { blockscale, snapshot, workplace } from "../support/cli-runner.ts";
import { s3Server } from "../support/s3-server.ts";

const server = s3Server();
const { makeModel, output, folder } = workplace();
afterEach(() => {
  server.faults = () => null;
});

/** Copies a folder under a prefix, without hidden files. */
async function upload(path: string, prefix: string): Promise<void> {
  for (const [name, bytes] of snapshot(path)) {
    if (name.startsWith(".")) continue;
    const stream = createS3(`${prefix}/${name}`, bytes.length);
    await new Blob([new Uint8Array(bytes)]).stream().pipeTo(stream);
  }
}

async function contents(prefix: string): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const [name, source] of await openS3Folder(prefix))
    files.set(name, Buffer.from(await source.slice(0, source.size).arrayBuffer()));
  return files;
}

function expectSame(found: Map<string, Buffer>, wanted: Map<string, Buffer>): void {
  expect([...found.keys()].sort()).toEqual([...wanted.keys()].sort());
  for (const [name, bytes] of found) expect(bytes.equals(wanted.get(name)!), name).toBe(true);
}

describe("a checkpoint in object storage", () => {
  test("is converted, inspected and compared as one in a folder, through faults too", async () => {
    const model = await makeModel(3, 300);
    const [local, back] = [output(), output()];
    await upload(model, "s3://models/in");
    expect(await blockscale("quantize", model, local)).toMatchObject({ code: 0 });

    const seen = new Map<string, number>();
    const kinds = ["500", "short", "503", "reset"] as const;
    let faults = 0;
    server.faults = (method, url, n) => {
      const key = `${method} ${url}`;
      seen.set(key, (seen.get(key) ?? 0) + 1);
      // Never twice in a row, about one request in five.
      if (n % 5 !== 0) return null;
      const kind = kinds[faults++ % kinds.length]!;
      return kind === "short" && method !== "GET" ? "500" : kind;
    };
    const quantized = await blockscale("quantize", "s3://models/in", "s3://models/out", "--threads", "2");
    expect(quantized).toMatchObject({ code: 0, err: "" });
    expect(faults).toBeGreaterThan(4);
    server.faults = () => null;
    expectSame(await contents("s3://models/out"), snapshot(local));
    expect(await blockscale("compare", local, "s3://models/out")).toMatchObject({
      code: 0,
      out: expect.stringContaining("nothing was lost"),
    });
    const [inspected, wanted] = [
      await blockscale("inspect", "s3://models/out", "--json"),
      await blockscale("inspect", local, "--json"),
    ];
    expect({ ...JSON.parse(inspected.out), input: local }).toEqual(JSON.parse(wanted.out));

    expect(await blockscale("dequantize", "s3://models/out/", back)).toMatchObject({ code: 0 });
    expect(await blockscale("dequantize", local, "s3://models/back")).toMatchObject({ code: 0 });
    expectSame(await contents("s3://models/back"), snapshot(back));

    // Finished, it may be made again; by another command, not.
    expect(await blockscale("quantize", "s3://models/in", "s3://models/out")).toMatchObject({ code: 0 });
    const other = await blockscale("quantize", "s3://models/in", "s3://models/out", "--to", "mxfp8");
    expect(other).toMatchObject({ code: 2, err: expect.stringContaining("--overwrite") });
  });

  test("may be a single object", async () => {
    const model = await makeModel(1, 64);
    const name = "model-00001-of-00001.safetensors";
    await upload(model, "s3://models/single");
    const local = join(folder, "single.safetensors");
    expect(await blockscale("quantize", join(model, name), local)).toMatchObject({ code: 0 });
    const made = await blockscale("quantize", `s3://models/single/${name}`, "s3://models/made/x.safetensors");
    expect(made).toMatchObject({ code: 0 });
    const found = (await contents("s3://models/made")).get("x.safetensors")!;
    expect(found.equals(readFileSync(local))).toBe(true);
  });

  test("is made in parts by several processes, and finished", async () => {
    const model = await makeModel(4, 64);
    const local = output();
    await upload(model, "s3://models/parts-in");
    expect(await blockscale("quantize", model, local)).toMatchObject({ code: 0 });
    for (const part of ["1/2", "2/2"]) {
      const made = await blockscale("quantize", "s3://models/parts-in", "s3://models/parts", "--part", part);
      expect(made).toMatchObject({ code: 0 });
    }
    expect(await blockscale("finish", "s3://models/parts")).toMatchObject({ code: 0 });
    expectSame(await contents("s3://models/parts"), snapshot(local));
  });

  test("goes on where a run was cut off", async () => {
    const model = await makeModel(3, 64);
    const local = output();
    await upload(model, "s3://models/cut-in");
    expect(await blockscale("quantize", model, local)).toMatchObject({ code: 0 });
    server.faults = (method, url) => (method === "PUT" && url.includes("/cut/model-00003") ? "503" : null);
    const cut = await blockscale("quantize", "s3://models/cut-in", "s3://models/cut");
    expect(cut).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^blockscale: s3:\/\/models\/cut.*SlowDown.*\n$/),
    });
    server.faults = () => null;
    const before = server.requests.length;
    expect(await blockscale("quantize", "s3://models/cut-in", "s3://models/cut")).toMatchObject({ code: 0 });
    const written = server.requests.slice(before).filter((line) => /^PUT .*\.safetensors(\?|$)/.test(line));
    expect(written.length).toBe(1);
    expectSame(await contents("s3://models/cut"), snapshot(local));
  });
});

describe("an evaluation in object storage", () => {
  const model = new URL("../evaluate/models/qwen3/", import.meta.url).pathname;
  const at = (prefix: string) => [
    ...["evaluate", `${prefix}qwen3`, "--tokens", `${prefix}qwen3/tokens.safetensors`],
    ...["--context", "64", "--worst", "3", "--json"],
  ];

  test("has the figures of one on a disk: at once, with states kept there, and in parts", async () => {
    await upload(model, "s3://models/qwen3");
    const figures = ({ out }: { out: string }) => ({ ...JSON.parse(out), model: "" });
    const wanted = figures(await blockscale(...at(join(model, "../"))));
    const state = ["--state", "s3://models/states", "--report", "s3://models/report.html"];
    expect(figures(await blockscale(...at("s3://models/"), ...state))).toEqual(wanted);
    expect(server.requests.filter((line) => /^PUT .*model\.states/.test(line)).length).toBe(3);
    await expect(openS3Folder("s3://models/states")).rejects.toThrow(/no object under it/);
    const page = await (await openS3("s3://models/report.html")).slice(0, 15).arrayBuffer();
    expect(`${Buffer.from(page)}`).toBe("<!doctype html>");
    for (const part of ["1/2", "2/2"]) {
      const made = await blockscale(...at("s3://models/"), "--part", part, "--out", "s3://models/scores");
      expect(made).toMatchObject({ code: 0 });
    }
    const all = await blockscale("finish", "s3://models/scores", "--worst", "3", "--json");
    expect(figures(all)).toEqual(wanted);
  });

  test("says which object of tokens is not there", async () => {
    const none = await blockscale("evaluate", model, "--tokens", "s3://models/none");
    expect(none).toMatchObject({
      code: 1,
      err: expect.stringMatching(/s3:\/\/models\/none: .*no such object/),
    });
  });
});

describe("what is missing gets one clear error, without a secret", () => {
  const SECRET = "verySecretKey0123456789";
  const one = (words: RegExp) => ({ code: 1, err: expect.stringMatching(words) });

  test("a bucket, a prefix, an object", async () => {
    const inspect = (place: string) => blockscale("inspect", place);
    expect(await inspect("s3://nobucket/x")).toMatchObject(one(/^blockscale: .*no such bucket.*\n$/));
    expect(await inspect("s3://models/nothing")).toMatchObject(one(/^blockscale: .*no object under it.*\n$/));
    expect(await inspect("s3://models/x.safetensors")).toMatchObject(
      one(/^blockscale: .*no such object.*\n$/),
    );
  });

  test("credentials: none, and wrong ones", async () => {
    const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY } = process.env;
    delete process.env.AWS_ACCESS_KEY_ID;
    try {
      const none = await blockscale("inspect", "s3://models/in");
      expect(none).toMatchObject(one(/^blockscale: .*no credentials.*AWS_PROFILE.*\n$/));
      Object.assign(process.env, { AWS_ACCESS_KEY_ID: "UNKNOWN", AWS_SECRET_ACCESS_KEY: SECRET });
      const wrong = await blockscale("inspect", "s3://models/in", "--json");
      expect(wrong).toMatchObject(one(/^blockscale: .*InvalidAccessKeyId.*\n$/));
      expect(wrong.err + wrong.out).not.toContain(SECRET);
    } finally {
      Object.assign(process.env, { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY });
    }
  });

  test("credentials, region and endpoint may come from files", async () => {
    const model = await makeModel(1, 64);
    await upload(model, "s3://models/profile");
    const before = { ...process.env };
    const [config, credentials] = [join(folder, "config"), join(folder, "credentials")];
    writeFileSync(
      config,
      `[profile other]\nregion = eu-west-1\nendpoint_url = ${process.env.AWS_ENDPOINT_URL}\n`,
    );
    writeFileSync(credentials, "[other]\naws_access_key_id = S3RVER\naws_secret_access_key = S3RVER\n");
    for (const name of ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
      delete process.env[name];
    Object.assign(process.env, {
      AWS_PROFILE: "other",
      AWS_CONFIG_FILE: config,
      AWS_SHARED_CREDENTIALS_FILE: credentials,
    });
    try {
      expect(await blockscale("inspect", "s3://models/profile")).toMatchObject({ code: 0, err: "" });
    } finally {
      delete process.env.AWS_PROFILE;
      Object.assign(process.env, before);
    }
  });

  test("an endpoint with a password is refused, and not told", async () => {
    const before = process.env.AWS_ENDPOINT_URL;
    process.env.AWS_ENDPOINT_URL = `https://me:${SECRET}@example.org`;
    try {
      const { code, err } = await blockscale("inspect", "s3://models/in");
      expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining("AWS_ENDPOINT_URL") });
      expect(err).not.toContain(SECRET);
    } finally {
      process.env.AWS_ENDPOINT_URL = before;
    }
  });
});
