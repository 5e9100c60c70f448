import { afterEach, expect, test } from "vitest";
import { createS3, openS3, openS3Folder, parseS3 } from "../../src/io/s3.ts";
import { BlockscaleError } from "../../src/tensor/errors.ts";
import { s3Server } from "../support/s3-server.ts";

const server = s3Server();
const quick = { tries: 4, wait: 1 };
afterEach(() => {
  server.faults = () => null;
});

function bytesOf(size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => (i * 31 + (i >> 8)) & 255);
}

async function write(address: string, bytes: Uint8Array, step = 1_000_003): Promise<void> {
  const writer = createS3(address, bytes.length, undefined, quick).getWriter();
  writer.closed.catch(() => {});
  for (let at = 0; at < bytes.length; at += step) await writer.write(bytes.slice(at, at + step));
  await writer.close();
}

async function contents(address: string): Promise<Uint8Array> {
  const source = await openS3(address, quick);
  return new Uint8Array(await source.slice(0, source.size).arrayBuffer());
}

function isSame(found: Uint8Array, wanted: Uint8Array): boolean {
  return Buffer.from(found).equals(wanted);
}

/** Makes each request fail once in every `every`, by its method and path. */
function sometimes(kinds: readonly ("500" | "503" | "reset" | "reset after" | "short")[]) {
  const seen = new Map<string, number>();
  server.faults = (method, url) => {
    const key = `${method} ${url}`;
    const n = seen.get(key) ?? 0;
    seen.set(key, n + 1);
    return kinds[n] ?? null;
  };
}

test("objects of every size come back as they were written", async () => {
  for (const size of [0, 1, 5000, 8 << 20, (8 << 20) + 1, 20_000_000]) {
    const bytes = bytesOf(size);
    await write(`s3://models/sizes/${size}`, bytes);
    expect(isSame(await contents(`s3://models/sizes/${size}`), bytes)).toBe(true);
  }
});

test("ranges are read by ranges, and past the end there is nothing", async () => {
  const bytes = bytesOf(5000);
  await write("s3://models/range", bytes);
  const source = await openS3("s3://models/range", quick);
  expect(new Uint8Array(await source.slice(10, 20).arrayBuffer())).toEqual(bytes.slice(10, 20));
  const into = new Uint8Array(100);
  expect(await source.read!(4950, into)).toBe(50);
  expect(into.subarray(0, 50)).toEqual(bytes.subarray(4950));
});

test.each(["500", "503", "reset", "short"] as const)(
  "a read that fails by %s is tried again",
  async (kind) => {
    const bytes = bytesOf(5000);
    await write("s3://models/faults", bytes);
    sometimes([kind, kind]);
    expect(isSame(await contents("s3://models/faults"), bytes)).toBe(true);
  },
);

test("a body that stalls is given up, and asked for again", async () => {
  await write("s3://models/stall", bytesOf(5000));
  let stalls = 0;
  server.faults = (method) => (method === "GET" && stalls++ === 0 ? "stall" : null);
  const source = await openS3("s3://models/stall", { ...quick, timeout: 1000 });
  expect((await source.slice(0, 5000).arrayBuffer()).byteLength).toBe(5000);
  expect(stalls).toBeGreaterThanOrEqual(2);
});

test.each(["500", "503", "reset"] as const)(
  "an upload in parts of which every request fails by %s is whole all the same",
  async (kind) => {
    const bytes = bytesOf(20_000_000);
    sometimes([kind]);
    await write(`s3://models/upload-${kind}`, bytes);
    expect(isSame(await contents(`s3://models/upload-${kind}`), bytes)).toBe(true);
  },
);

test("an answer that is lost after the object became visible counts", async () => {
  const bytes = bytesOf(9_000_000);
  let lost = 0;
  server.faults = (method, url) =>
    method === "POST" && url.includes("uploadId=") && lost++ === 0 ? "reset after" : null;
  await write("s3://models/lost", bytes);
  expect(lost).toBe(1);
  expect(isSame(await contents("s3://models/lost"), bytes)).toBe(true);
});

test("an object that fails for good is not there, and its upload is aborted", async () => {
  server.faults = (method, url) => (method === "PUT" && url.includes("partNumber=2") ? "500" : null);
  const failed = write("s3://models/never", bytesOf(20_000_000));
  await expect(failed).rejects.toMatchObject({ code: "io", message: expect.stringContaining("4 times") });
  server.faults = () => null;
  await expect(openS3("s3://models/never", quick)).rejects.toMatchObject({ code: "io" });
  expect(server.requests.some((line) => line.startsWith("DELETE /models/never?uploadId="))).toBe(true);
});

test("an object is not visible before it may be", async () => {
  const refusal = new BlockscaleError("io", { where: "w", expected: "e", got: "g", fix: "f" });
  for (const size of [10, 9_000_000]) {
    const writer = createS3("s3://models/refused", size, () => Promise.reject(refusal), quick).getWriter();
    writer.closed.catch(() => {});
    await writer.write(bytesOf(size));
    await expect(writer.close()).rejects.toBe(refusal);
    await expect(openS3("s3://models/refused", quick)).rejects.toMatchObject({ code: "io" });
  }
});

test("an object that changes between reads is refused", async () => {
  await write("s3://models/changing", bytesOf(5000));
  const source = await openS3("s3://models/changing", quick);
  await source.checkUnchanged();
  await write("s3://models/changing", bytesOf(5000).reverse());
  const changed = { code: "io", message: expect.stringContaining("changed while it was read") };
  await expect(source.slice(0, 10).arrayBuffer()).rejects.toMatchObject(changed);
  await expect(source.checkUnchanged()).rejects.toMatchObject(changed);
});

test("a prefix is a folder: names behind it, none hidden, none of a neighbour", async () => {
  for (const key of ["folder/a", "folder/sub/b", "folder/.hidden", "folder/.run/x", "folder2/c"])
    await write(`s3://models/${key}`, bytesOf(3));
  expect([...(await openS3Folder("s3://models/folder/", quick)).keys()]).toEqual(["a", "sub/b"]);
});

test.each([
  "s3://",
  "s3:/models/x",
  "s3://a:b@models/x",
  "s3://models/../x",
  "s3://models/a//b",
  "s3://models/a\\b",
])("%s is no address, and is not told", (address) => {
  expect(() => parseS3(address)).toThrow(expect.objectContaining({ code: "option" }));
  expect(() => parseS3(address)).not.toThrow("a:b");
});
