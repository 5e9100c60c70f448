import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import type { Stored } from "../support/checkpoint-files.ts";
import {
  blockscale,
  layer,
  MOVING,
  startLimited,
  temporaryFolder,
  writeFileWith,
} from "../support/cli-runner.ts";

// What the command line prints, and where it goes.

const folder = temporaryFolder();
const input = join(folder, "in.safetensors");

beforeAll(async () => writeFileWith(input, layer(0, 160)));

test("whoever stops reading has seen enough", async () => {
  const deaf = "exec > >(exec <&- 2>&-; sleep 2)";
  const ends = await Promise.all(
    [
      ["inspect", input],
      ["quantize", "--help"],
    ].map((args) => startLimited(deaf, args)),
  );
  for (const end of ends) expect(end).toMatchObject({ code: 0, err: "" });
});

test("a report that cannot be written is a failure", async () => {
  const { code, err } = await startLimited("exec > /dev/full", ["inspect", input]);
  expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining("standard output") });
});

test.each([
  ["too deep", `{"a": ${"[".repeat(200)}${"]".repeat(200)}}`],
  ["half a character", '{"a": "\\ud800"}'],
  ["no JSON, and a title for the terminal", "\u001b]0;pwned\u0007\u009b31m"],
])("a config.json that is %s is one line", async (what, text) => {
  const model = join(folder, what.replaceAll(" ", "-"));
  mkdirSync(model);
  await writeFileWith(join(model, "model.safetensors"), layer(0, 32));
  writeFileSync(join(model, "config.json"), text);
  for (const command of ["quantize", "dequantize"]) {
    const { code, err } = await blockscale(command, model, `${model}-out`);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/^blockscale: config.json: .*\n$/) });
    expect(err).not.toMatch(MOVING);
  }
});

test("long names, long shapes and many dimensions make no long tables and messages", async () => {
  const path = join(folder, "long.safetensors");
  const long = {
    name: "n".repeat(100_000),
    dtype: "U8",
    shape: Array(50_000).fill(1),
    bytes: new Uint8Array(1),
  };
  const short = Array.from({ length: 1000 }, (_, i) => ({ ...long, name: `${i}`, shape: [1] }));
  await writeFileWith(path, [long, ...short] as Stored[]);
  for (const args of [
    ["inspect", path],
    ["quantize", path, join(folder, "long-out.safetensors"), "--dry-run"],
  ]) {
    const { code, out } = await blockscale(...args);
    expect(code).toBe(0);
    expect(out.length).toBeLessThan(1e6);
  }
  const { err } = await blockscale("inspect", join(folder, "n/".repeat(1500)));
  expect(err.length).toBeLessThan(2000);
});

test("names from a file cannot move the cursor of a terminal", async () => {
  const path = join(folder, "escape.safetensors");
  const [tensor] = layer(0, 32);
  await writeFileWith(path, [{ ...tensor!, name: "a\u001b[2Jb.weight" }]);
  const codes = join(folder, "codes.safetensors");
  const name = "a\u001b[31m\u009b31m\u202e\u{e0001}";
  await writeFileWith(codes, [{ name, dtype: "F8_E4M3", shape: [1], bytes: new Uint8Array(1) }]);
  const refused = await blockscale("dequantize", codes, join(folder, "never"));
  expect(refused).toMatchObject({ code: 1, err: expect.stringMatching(/^blockscale: .*\n$/) });
  expect(refused.err).not.toMatch(MOVING);
  const { out: json } = await blockscale("inspect", codes, "--json");
  expect(json).not.toMatch(MOVING);
  expect(JSON.parse(json).tensors[0].name).toBe(name);
  const { out } = await blockscale("inspect", path);
  expect(out).toContain("a\\u001b[2Jb.weight");
  expect(out).not.toContain("\u001b");
});
