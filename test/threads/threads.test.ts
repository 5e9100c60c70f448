import { execFileSync } from "node:child_process";
import type { Worker } from "node:worker_threads";
import { afterAll, expect, test } from "vitest";
import { load, schemes, type ThreadedEngine } from "../../dist/index.js";
import { randomNormal } from "../support/random.ts";

const [m, n, k] = [9, 300, 160];
const x = { values: randomNormal(1, m * k), shape: [m, k] };
const single = await load();
const threaded = await load({ threads: 2 });
afterAll(() => threaded.close());

const SCHEMES = [
  ["mxfp8", schemes.mxfp8],
  ["deepseekWeight", schemes.deepseekWeight],
  ["deepseekV3Weight", schemes.deepseekV3Weight],
  ["one block", { ...schemes.mxfp8, block: [2 ** 31 - 1, 2 ** 31 - 1] as [number, number] }],
] as const;

test.each(SCHEMES)("the bits of one thread: %s", async (_, scheme) => {
  const w = single.quantize(randomNormal(2, n * k), [n, k], scheme);
  const want = single.gemm(x, w);
  expect(await threaded.gemm(x, w)).toEqual(want);
  const packed = await threaded.pack(w);
  expect(packed.shape).toEqual([n, k]);
  const [first, second, bits] = await Promise.all([
    threaded.gemm(x, packed),
    threaded.gemm(x, packed, { out: new Float32Array(m * n) }),
    threaded.gemm(x, packed, { type: "bf16" }),
  ]);
  expect([first, second]).toEqual([want, want]);
  expect(bits).toEqual(single.gemm(x, w, { type: "bf16" }));
  await packed.free();
  await expect(threaded.gemm(x, packed)).rejects.toThrow(/freed/);
});

test("all but products is done by the calling thread, with the same results", () => {
  const values = randomNormal(6, n * k);
  const w = threaded.quantize(values, [n, k], "deepseekWeight");
  expect(w).toEqual(single.quantize(values, [n, k], "deepseekWeight"));
  expect(threaded.dequantize(w, "bf16")).toEqual(single.dequantize(w, "bf16"));
  expect(threaded.compare(values, w)).toEqual(single.compare(values, w));
  const codes = threaded.encode(values, "e5m2");
  expect(codes).toEqual(single.encode(values, "e5m2"));
  expect(threaded.decode(codes, "e5m2")).toEqual(single.decode(codes, "e5m2"));
});

test("layouts, experts, and fewer rows than threads", async () => {
  const across = single.quantize(randomNormal(3, k * n), [k, n], schemes.mxfp8);
  expect(await threaded.gemm(x, across, { layout: "nn" })).toEqual(single.gemm(x, across, { layout: "nn" }));
  const packed = await threaded.pack(across, { layout: "n" });
  expect(await threaded.gemm(x, packed)).toEqual(single.gemm(x, across, { layout: "nn" }));
  const stack = single.quantize(randomNormal(4, 3 * 40 * k), [3, 40, k], schemes.mxfp8);
  const experts = Int32Array.from([0, 0, 2, -1, 1, 1, 1, 1, 0]);
  const out = new Float32Array(m * 40).fill(5);
  const want = single.gemm(x, stack, { experts, out: out.slice() });
  expect(await threaded.gemm(x, stack, { experts, out })).toEqual(want);
  const row = single.quantize(randomNormal(5, k), [1, k], schemes.mxfp8);
  expect(await threaded.gemm(x, row)).toEqual(single.gemm(x, row));
  const none = single.quantize(new Float32Array(), [0, k], schemes.mxfp8);
  expect(await threaded.gemm(x, none)).toEqual(new Float32Array());
});

test("Node's Buffers are copied, not given away", async () => {
  const w = single.quantize(randomNormal(2, n * k), [n, k], schemes.mxfp8);
  const buffers = { ...w, codes: Buffer.from(w.codes), scales: Buffer.from(w.scales as Uint8Array) };
  const packed = await threaded.pack(buffers);
  expect(await threaded.gemm(x, packed)).toEqual(single.gemm(x, w));
  expect(await threaded.gemm(x, buffers)).toEqual(single.gemm(x, w));
  expect([...buffers.codes]).toEqual([...w.codes]);
  await packed.free();
});

test.each([1, 8, 9])(
  "%i rows of x, and one thread's weights are all subnormal: the same bits",
  async (rows) => {
    const w = single.quantize(randomNormal(2, 64 * 256), [64, 256], schemes.mxfp8);
    w.codes.fill(5, 32 * 256);
    const left = { values: randomNormal(rows, rows * 256), shape: [rows, 256] };
    const packed = await threaded.pack(w);
    expect(await threaded.gemm(left, w)).toEqual(single.gemm(left, w));
    expect(await threaded.gemm(left, packed)).toEqual(single.gemm(left, w));
    await packed.free();
  },
);

test("what is wrong with the arguments is said as in one thread", async () => {
  const w = single.quantize(randomNormal(2, n * k), [n, k], schemes.mxfp8);
  const wrong: readonly (() => Promise<unknown>)[] = [
    () => threaded.gemm(x, null as never),
    () => threaded.gemm(x, 5 as never),
    () => threaded.gemm(x, { codes: 5 } as never, { layout: "nn" }),
    () => threaded.gemm(x, w, { layout: "xx" as never }),
    () => threaded.gemm(x, w, { out: new Float32Array(1) }),
    () => threaded.pack(null as never),
    () => threaded.pack(w, { layout: "q" as never }),
    () => threaded.pack(w, "n" as never),
  ];
  for (const call of wrong) await expect(call()).rejects.toMatchObject({ name: "BlockscaleError" });
  const narrow = { values: x.values, shape: [m * 2, k / 2] };
  await expect(threaded.gemm(narrow, w)).rejects.toMatchObject({
    name: "BlockscaleError",
    code: "shape",
    fault: { where: "gemm: K" },
  });
  await expect(load({ threads: 0 })).rejects.toThrow(/from 1 to 256/);
  await expect(load({ threads: 1.5 })).rejects.toThrow(/from 1 to 256/);
});

/** An engine of three threads, and the workers that it has started: this thread is one of the three. */
async function withWorkers(): Promise<[ThreadedEngine, Worker[]]> {
  const threads = process.getBuiltinModule("node:worker_threads") as { Worker: typeof Worker };
  const started: Worker[] = [];
  const Original = threads.Worker;
  threads.Worker = class extends Original {
    constructor(...rest: ConstructorParameters<typeof Worker>) {
      super(...rest);
      started.push(this);
    }
  };
  try {
    return [await load({ threads: 3 }), started];
  } finally {
    threads.Worker = Original;
  }
}

test("a global Worker that some library has defined in Node is left alone", async () => {
  const scope = globalThis as { Worker?: unknown };
  scope.Worker = class {
    constructor() {
      throw new Error("takes no blob");
    }
  };
  try {
    const w = single.quantize(randomNormal(2, n * k), [n, k], schemes.mxfp8);
    const fp8 = await load({ threads: 2 });
    expect(await fp8.gemm(x, w)).toEqual(single.gemm(x, w));
    await fp8.close();
  } finally {
    delete scope.Worker;
  }
});

test("what cannot be sent to a worker is refused as by one thread, and nothing is left waiting", async () => {
  const w = single.quantize(randomNormal(2, n * k), [n, k], schemes.mxfp8);
  const odd = { type: () => {} } as unknown as { type: "f32" };
  await expect(threaded.gemm(x, w, odd)).rejects.toMatchObject({ name: "BlockscaleError", code: "option" });
  await expect(threaded.gemm((() => {}) as never, w)).rejects.toMatchObject({ fault: { where: "gemm: x" } });
  expect(await threaded.gemm(x, w)).toEqual(single.gemm(x, w));
});

test("W8A8, and x that no longer is what it was when the workers read it", async () => {
  const w = single.quantize(randomNormal(2, n * k), [n, k], schemes.mxfp8);
  const quantised = single.quantize(x.values, [m, k], schemes.mxfp8);
  expect(await threaded.gemm(quantised, w)).toEqual(single.gemm(quantised, w));
  const changing = { values: x.values.slice(), shape: [m, k] };
  const product = threaded.gemm(changing, w);
  changing.values.fill(0);
  expect(await product).toEqual(single.gemm(x, w));
});

test("products one after another let timers run", async () => {
  const w = single.quantize(randomNormal(2, n * k), [n, k], schemes.mxfp8);
  let fired = 0;
  const timer = setInterval(() => fired++, 1);
  // Where the machine is busy, a product alone takes many milliseconds.
  const end = performance.now() + 5000;
  while (fired <= 5 && performance.now() < end) await threaded.gemm(x, w);
  clearInterval(timer);
  expect(fired).toBeGreaterThan(5);
});

test("one thread, which is this one; and more threads than rows", async () => {
  for (const threads of [1, 3, 7]) {
    const fp8 = await load({ threads });
    for (const rows of [1, 5, 300]) {
      for (const scheme of [schemes.mxfp8, schemes.deepseekWeight]) {
        const w = single.quantize(randomNormal(6, rows * k), [rows, k], scheme);
        expect(await fp8.gemm(x, w)).toEqual(single.gemm(x, w));
        expect(await fp8.gemm(x, await fp8.pack(w))).toEqual(single.gemm(x, w));
      }
    }
    await fp8.close();
  }
});

test("workers that a process is not allowed to start are a clear error", () => {
  const script = `
    import { load } from "./dist/index.js";
    await load({ threads: 2 }).catch(({ name, message }) => console.log(name + ": " + message));
  `;
  const flags = [permissionFlag(), "--allow-fs-read=*", "--input-type=module", "--eval", script];
  const printed = execFileSync(process.execPath, flags, {
    cwd: new URL("../..", import.meta.url),
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
    timeout: 20_000,
  });
  expect(printed).toMatch(/^BlockscaleError: load: threads: expected a host that starts workers, got Access/);
});

/** Its name until Node 23.5. */
function permissionFlag(): string {
  return process.allowedNodeEnvironmentFlags.has("--permission")
    ? "--permission"
    : "--experimental-permission";
}

test("a worker that dies is a clear error, for what is under way and what comes after", async () => {
  const [fp8, workers] = await withWorkers();
  expect(workers).toHaveLength(2);
  const w = single.quantize(new Float32Array(384 * 1024), [384, 1024], schemes.deepseekWeight);
  const packed = await fp8.pack(w);
  const tall = { values: new Float32Array(512 * 1024), shape: [512, 1024] };
  const end = workers[0]!.terminate();
  await expect(fp8.gemm(tall, packed)).rejects.toThrow(/one that died/);
  await end;
  await expect(fp8.gemm(tall, packed)).rejects.toMatchObject({
    code: "internal",
    fault: { where: "threads" },
  });
  await fp8.close();
});

test("close() ends the workers, and later calls say so", async () => {
  const [fp8, workers] = await withWorkers();
  const w = single.quantize(randomNormal(2, n * k), [n, k], schemes.mxfp8);
  await fp8.gemm(x, w);
  await fp8.close();
  expect(workers.map(({ threadId }) => threadId)).toEqual([-1, -1]);
  await expect(fp8.gemm(x, w)).rejects.toThrow(/one that was closed/);
});

test.each([
  ["forgets close()", ""],
  ["waits for close()", "await fp8.close(); console.log('closed');"],
])("a process that %s ends", (_, close) => {
  const script = `
    import { load, schemes } from "./dist/index.js";
    const fp8 = await load({ threads: 2 });
    const w = (await load()).quantize(new Float32Array(64).fill(1), [2, 32], schemes.mxfp8);
    console.log(await fp8.gemm({ values: new Float32Array(32).fill(1), shape: [1, 32] }, w));
    ${close}
  `;
  const printed = execFileSync(process.execPath, ["--input-type=module", "--eval", script], {
    cwd: new URL("../..", import.meta.url),
    encoding: "utf8",
    timeout: 20_000,
  });
  expect(printed.trim()).toBe(`Float32Array(2) [ 32, 32 ]${close && "\nclosed"}`);
});
