import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { refuseOtherEvaluation } from "../../src/jobs/evaluation.ts";
import { parseQueue } from "../../src/jobs/queue/connection.ts";
import { checkFileJob } from "../../src/jobs/queue/conversion.ts";
import { checkScoreJob } from "../../src/jobs/queue/evaluation.ts";
import { Heartbeat } from "../../src/jobs/queue/heartbeat.ts";
import { refusePlaces, refuseSecrets } from "../../src/jobs/queue/places.ts";
import { idOf } from "../../src/jobs/queue/work.ts";
import { planShared } from "../../src/jobs/spec.ts";
import { BlockscaleError } from "../../src/tensor/errors.ts";
import { temporaryFolder } from "../support/cli-runner.ts";

const spec = {
  format: 1,
  version: "1.0.0",
  from: "/in",
  direction: { kind: "quantize", to: "mxfp8" },
  options: {
    to: "mxfp8",
    missingScale: "error",
    include: ["*"],
    overrides: [{ pattern: "*", scheme: "keep" }],
  },
  fingerprint: "a".repeat(64),
} as const;
const data = { spec, to: "/out", file: "model.safetensors" };

/** A checkpoint of one matrix of 32 x 32 zeros. */
const safetensors = (() => {
  const header = new TextEncoder().encode(
    '{"a.q_proj.weight":{"dtype":"BF16","shape":[32,32],"data_offsets":[0,2048]}}',
  );
  const bytes = new Uint8Array(8 + header.length + 2048);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
  bytes.set(header, 8);
  return bytes;
})();

type Place = readonly (string | number)[];

/** Ways to every value in a record, and to the record itself. */
function placesIn(value: unknown, above: Place = []): Place[] {
  const below = typeof value === "object" && value !== null ? Object.entries(value) : [];
  return [above, ...below.flatMap(([key, one]) => placesIn(one, [...above, key]))];
}

/** A copy with another value in one place. */
function withValue(record: unknown, [key, ...rest]: Place, value: unknown): unknown {
  if (key === undefined) return value;
  const copy = structuredClone(record) as { [key: string]: unknown };
  copy[key] = withValue(copy[key], rest, value);
  return copy;
}

describe("jobs from strangers", () => {
  test("are taken when they are whole", () => expect(checkFileJob(data)).toEqual(data));

  test.each([
    null,
    "x",
    [],
    {},
    { ...data, more: 1 },
    { ...data, to: 5 },
    { ...data, file: "a\u0000b" },
    { ...data, spec: { ...spec, format: 2 } },
    { ...data, spec: { ...spec, fingerprint: "A".repeat(64) } },
    { ...data, spec: { ...spec, direction: { kind: "quantize", to: "__proto__" } } },
    { ...data, spec: { ...spec, direction: { kind: "delete", to: "mxfp8" } } },
    { ...data, spec: { ...spec, options: { ...spec.options, to: "deepseek-v3" } } },
    { ...data, spec: { ...spec, options: { ...spec.options, include: ["x".repeat(501)] } } },
    { ...data, spec: { ...spec, options: { ...spec.options, surprise: true } } },
    { ...data, spec: { ...spec, options: { ...spec.options, overrides: [null] } } },
    { ...data, spec: { ...spec, options: { ...spec.options, overrides: [{ pattern: 5, scheme: "keep" }] } } },
  ])("are refused: %j", (job) => expect(() => checkFileJob(job)).toThrow(/expected/));

  const evaluation = {
    format: 1,
    version: "1.0.0",
    model: "/in",
    against: null,
    context: 4,
    activations: "f32",
    weights: "codes",
    cache: "f32",
    variant: "baseline",
    fingerprint: "a".repeat(64),
  } as const;
  const scores = { spec: evaluation, ids: [0, 1, 2, 2 ** 31 - 1] };

  test("of an evaluation are taken when they are whole", () => expect(checkScoreJob(scores)).toEqual(scores));

  test.each([
    {},
    { ...scores, more: 1 },
    { ...scores, ids: "0123" },
    { ...scores, ids: [] },
    { ...scores, ids: [0, 1, 2] },
    { ...scores, ids: [0, 1, 2, -1] },
    { ...scores, ids: [0, 1, 2, 2 ** 31] },
    { ...scores, ids: [0, 1, 2, 0.5] },
    { ...scores, ids: [0, 1, 2, "3"] },
    { ...scores, spec: { ...evaluation, context: 0 } },
    { ...scores, spec: { ...evaluation, context: 3.5 } },
    { ...scores, spec: { ...evaluation, model: 5 } },
    { ...scores, spec: { ...evaluation, against: "a\u0000b" } },
    { ...scores, spec: { ...evaluation, variant: "other" } },
    { ...scores, spec: { ...evaluation, surprise: true } },
  ])("of an evaluation are refused: %j", (job) => expect(() => checkScoreJob(job)).toThrow(/expected/));

  test.each([
    [data, checkFileJob],
    [scores, checkScoreJob],
  ] as const)("are taken or refused in our words, whatever stands where: %#", async (job, check) => {
    const files = new Map([["model.safetensors", new Blob([safetensors])]]);
    const places = placesIn(job);
    const anything = fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      fc.constantFrom(null, "", "../../x", "re:(", "__proto__", 1e308, -1, 2 ** 53, { toString: 1 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...places), anything, async (place, value) => {
        const hostile = withValue(job, place, value);
        try {
          const taken = check(hostile);
          expect(taken).toEqual(hostile);
          if ("file" in taken) await planShared(taken.spec, files);
          else refuseOtherEvaluation("x", taken.spec, { ...taken.spec, fingerprint: "other" });
        } catch (error) {
          expect(error, `${error}`).toBeInstanceOf(BlockscaleError);
        }
      }),
      { numRuns: 600 },
    );
  });

  test("of the same have one id", () => {
    expect(idOf("a", 1, [2])).toBe(idOf("a", 1, [2]));
    expect(idOf("a", 1, [2])).not.toBe(idOf("a", 12));
  });

  test("reach only what a worker may use", async () => {
    const folder = temporaryFolder();
    for (const name of ["allowed", "allowed-not", "secret"]) mkdirSync(join(folder, name));
    symlinkSync(join(folder, "secret"), join(folder, "allowed/link"));
    const at = (name: string) => join(folder, name);
    const ask = (from: string, to: string) =>
      refusePlaces({ reads: [from], writes: [to] }, [at("allowed"), "https://example.com/models"]);
    await ask(at("allowed/in"), at("allowed/out"));
    await ask("https://example.com/models/a", at("allowed/out"));
    for (const [from, to] of [
      [at("secret"), at("allowed/out")],
      [at("allowed/in"), at("allowed/link/out")],
      [at("allowed/in"), at("allowed/../secret")],
      [at("allowed/in"), at("allowed-not/out")],
      [at("allowed/in"), "https://example.com/models/out"],
      ["https://example.com/models/../secret", at("allowed/out")],
      ["https://example.com/models/%2e%2e/secret", at("allowed/out")],
      ["https://example.com/models-not", at("allowed/out")],
      ["https://example.com@evil.example/models/", at("allowed/out")],
      ["in", at("allowed/out")],
    ] as const) {
      await expect(ask(from, to), `${from} ${to}`).rejects.toThrow(/places that this worker may use/);
    }
  });
});

describe("addresses", () => {
  test("of Redis are read", () => {
    expect(parseQueue("redis://localhost", undefined)).toMatchObject({
      host: "localhost",
      port: 6379,
      db: 0,
    });
    const secure = parseQueue("rediss://me:p%40ss@queue.example:7000/3", undefined);
    expect(secure).toMatchObject({
      host: "queue.example",
      port: 7000,
      db: 3,
      username: "me",
      password: "p@ss",
    });
    expect(secure.tls).toEqual({ servername: "queue.example" });
    expect(parseQueue("redis://localhost", "from-outside").password).toBe("from-outside");
  });

  test.each([
    "",
    "redis://",
    "http://u:secret@host",
    "redis://u:secret@host/a",
    "rediss://u:secret@host?tls=0",
    "redis://u:secret@host#x",
  ])("%j is refused, and not repeated", (address) => {
    expect(() => parseQueue(address)).toThrow(/^--queue: expected (?!.*secret)/);
  });

  test("of inputs must hold no secret", () => {
    for (const one of ["https://u:p@example.com/a", "https://example.com/a?X-Amz-Signature=1"])
      expect(() => refuseSecrets(one)).toThrow(/^IN: expected (?!.*Signature)/);
    for (const one of ["https://example.com/a", "/data/a?b", "hf:owner/name@main"]) refuseSecrets(one);
  });
});

test("a heartbeat that ends at its start advises what a rank can do", async () => {
  // Its thread is compiled: beside the source there is none.
  const started = Heartbeat.start(parseQueue("redis://127.0.0.1:1"));
  await expect(started).rejects.toThrow(/Start this rank again/);
});
