import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseQueue } from "../../src/jobs/queue/connection.ts";
import { checkFileJob } from "../../src/jobs/queue/conversion.ts";
import { checkScoreJob } from "../../src/jobs/queue/evaluation.ts";
import { refusePlaces, refuseSecrets } from "../../src/jobs/queue/places.ts";
import { idOf } from "../../src/jobs/queue/work.ts";
import { temporaryFolder } from "../support/cli-runner.ts";

const spec = {
  format: 1,
  version: "1.0.0",
  from: "/in",
  direction: { kind: "quantize", to: "mxfp8" },
  options: { to: "mxfp8", missingScale: "error" },
  fingerprint: "a".repeat(64),
} as const;
const data = { spec, to: "/out", file: "model.safetensors" };

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
