import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { fileWith, type Stored, tensor, valuesAs } from "./checkpoint-files.ts";
import { randomNormal, randomWords } from "./random.ts";

export const CLI: string = new URL("../../dist/cli/main.js", import.meta.url).pathname;

export interface Result {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/**
 * Starts the built command line, as npx would, or with options of Node's own.
 * @param under a command that starts another, such as `unshare -pf`
 */
export function start(
  args: readonly string[],
  options: readonly string[] = [],
  under: readonly string[] = [],
): { child: ChildProcess; ended: Promise<Result> } {
  const [command, ...rest] = [...under, process.execPath, ...options, CLI, ...args];
  return collect(spawn(command!, rest));
}

/** Starts it with a limit of the shell, such as `ulimit -f 100`. */
export function startLimited(limit: string, args: readonly string[]): Promise<Result> {
  const command = [process.execPath, CLI, ...args].map((word) => `'${word}'`).join(" ");
  return collect(spawn("bash", ["-c", `${limit}; exec ${command}`])).ended;
}

function collect(child: ChildProcess) {
  let [out, err] = ["", ""];
  child.stdout!.on("data", (text) => {
    out += text;
  });
  child.stderr!.on("data", (text) => {
    err += text;
  });
  const ended = new Promise<Result>((resolve) => child.on("close", (code) => resolve({ code, out, err })));
  return { child, ended };
}

export function blockscale(...args: string[]): Promise<Result> {
  return start(args).ended;
}

/** What moves the cursor of a terminal, or changes the order of letters; ends of lines are allowed. */
export const MOVING: RegExp = /(?!\n)[\p{Cc}\p{Cf}]/u;

/** A new folder that disappears with the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "blockscale-test-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** All files below a folder with their contents, hidden ones too. */
export function snapshot(folder: string): Map<string, Buffer> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  const files = names.filter((name) => statSync(join(folder, name)).isFile());
  return new Map(files.map((name) => [name, readFileSync(join(folder, name))]));
}

/** Two folders hold the same files with the same bytes. */
export function expectSameFiles(found: string, wanted: string): void {
  const [files, others] = [snapshot(found), snapshot(wanted)];
  expect([...files.keys()]).toEqual([...others.keys()]);
  for (const [name, bytes] of files) expect(bytes.equals(others.get(name)!), name).toBe(true);
}

/** A layer of a model, of about `size` x `size` weights. */
export function layer(n: number, size: number): Stored[] {
  const at = `model.layers.${n}`;
  return [
    valuesAs(`${at}.self_attn.q_proj.weight`, "BF16", [size, size], randomNormal(n, size * size)),
    valuesAs(
      `${at}.mlp.down_proj.weight`,
      "BF16",
      [size, size + 32],
      randomNormal(n + 50, size * (size + 32)),
    ),
    tensor(`${at}.mlp.gate.weight`, "BF16", [4, size], Uint16Array.from(randomWords(n, 4 * size))),
    tensor(`${at}.input_layernorm.weight`, "BF16", [size], Uint16Array.from(randomWords(n + 9, size))),
  ];
}

export async function writeFileWith(path: string, tensors: readonly Stored[]): Promise<void> {
  writeFileSync(path, new Uint8Array(await fileWith(tensors, [["format", "pt"]]).arrayBuffer()));
}

/** What config.json of {@link writeModel} says. */
export const CONFIG: string = `{
  "architectures": ["LlamaForCausalLM"],
  "rope_theta": 10000.0,
  "attention_dropout": 0.0,
  "torch_dtype": "bfloat16"
}
`;

/** A checkpoint folder with some shards, an index, and files that are no part of the model. */
export async function writeModel(model: string, shards = 3, size = 96): Promise<string> {
  const weightMap: { [name: string]: string } = {};
  mkdirSync(join(model, "sub"), { recursive: true });
  for (let i = 0; i < shards; i++) {
    const name = `model-0000${i + 1}-of-0000${shards}.safetensors`;
    await writeFileWith(join(model, name), layer(i, size));
    for (const tensor of layer(i, size)) weightMap[tensor.name] = name;
  }
  writeFileSync(join(model, "config.json"), CONFIG);
  const index = { metadata: { total_size: 1, note: "x" }, weight_map: weightMap };
  writeFileSync(join(model, "model.safetensors.index.json"), JSON.stringify(index));
  writeFileSync(join(model, "tokenizer.json"), '{"a": 1.0}');
  writeFileSync(join(model, "sub/empty.txt"), "");
  writeFileSync(join(model, ".hidden"), "not for copies");
  return model;
}

/** A temporary folder for models and outputs, each of them a new path. */
export function workplace(): {
  folder: string;
  makeModel: (shards?: number, size?: number) => Promise<string>;
  output: () => string;
} {
  const folder = temporaryFolder();
  let made = 0;
  return {
    folder,
    makeModel: (shards, size) => writeModel(join(folder, `model-${made++}`), shards, size),
    output: () => join(folder, `out-${made++}`),
  };
}

/** A module that kills the process as soon as the first shard has its name. */
const KILLING = `data:text/javascript,${encodeURIComponent(`
  import fs from "node:fs";
  import { syncBuiltinESMExports } from "node:module";
  const { rename } = fs.promises;
  fs.promises.rename = async (from, to) => {
    await rename(from, to);
    if (to.endsWith(".safetensors")) process.kill(process.pid, "SIGKILL");
  };
  syncBuiltinESMExports();
`)}`;

/** Runs a command until its first shard is whole. */
export async function cutOff(...args: string[]): Promise<void> {
  expect(await start(args, ["--import", KILLING]).ended).toMatchObject({ code: null });
}
