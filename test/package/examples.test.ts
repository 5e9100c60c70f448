import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";

const ROOT = new URL("../..", import.meta.url);
let folder: string;

function run(example: string, ...parameters: string[]): string {
  return execFileSync(process.execPath, [`test/examples/${example}.mjs`, ...parameters], {
    cwd: ROOT,
    encoding: "utf8",
  });
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "blockscale-examples-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("trains a model in FP8, converts it in code, and runs what was written", () => {
  const [trained, converted] = [join(folder, "trained"), join(folder, "fp8")];
  const losses = [...run("train", trained).matchAll(/loss ([\d.]+)/g)].map(([, loss]) => Number(loss));
  expect(losses[0]).toBeGreaterThan(4);
  expect(losses.at(-1)).toBeLessThan(0.5);
  expect(run("convert-checkpoint", trained, converted)).toContain("converted: 10");
  expect(readdirSync(converted).sort()).toEqual(["config.json", "model.safetensors"]);
  expect(run("generate", converted, "The qu")).toContain("The quick brown fox jumps over the lazy dog. ");
}, 120_000);

it("is listed, each by its task", () => {
  const page = readFileSync(new URL("docs/examples.md", ROOT), "utf8");
  const files = readdirSync(new URL("test/examples/", ROOT)).filter((name) => name.endsWith(".mjs"));
  for (const file of files) expect(page).toContain(`(../test/examples/${file})`);
});
