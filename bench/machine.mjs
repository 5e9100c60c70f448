import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";

/** Where a record comes from: it is in every one. */
export function origin(root) {
  return {
    time: new Date().toISOString(),
    machine: {
      cpu: cpuName(),
      cores: cpus().length,
      memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
      os: `${process.platform} ${release()} ${process.arch}`,
    },
    runtime: { name: "node", version: process.versions.node, v8: process.versions.v8 },
    build: {
      version: JSON.parse(readFileSync(new URL("package.json", root), "utf8")).version,
      commit: commit(root),
      wasm: digest(readFileSync(new URL("build/baseline.wasm", root))),
    },
  };
}

/** The name of a processor for a file. */
export function slug(cpu) {
  return cpu
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
}

/** What was measured on each machine, that one first: bench/results/KIND-MACHINE.json. */
export function resultsOf(kind, root, cpu) {
  const folder = new URL("bench/results/", root);
  const results = readdirSync(folder)
    .filter((name) => name.startsWith(`${kind}-`) && name.endsWith(".json"))
    .map((name) => JSON.parse(readFileSync(new URL(name, folder), "utf8")));
  const rank = ({ origin }) => (origin.machine.cpu === cpu ? 0 : 1);
  return results.sort((a, b) => rank(a) - rank(b));
}

/** A machine, and when it measured which commit. */
export const machineOf = ({ origin: { machine, build, time } }) =>
  `${machine.cpu}, commit ${build.commit}, ${time.slice(0, 10)}`;

/** Virtual machines often hide the model: family and model number say which core it is. */
function cpuName() {
  const name = cpus()[0]?.model.trim() ?? "unknown";
  try {
    const info = readFileSync("/proc/cpuinfo", "utf8");
    const field = (key) => info.match(new RegExp(`^${key}\\s*: (.*)$`, "m"))?.[1];
    return `${name} (family ${field("cpu family")} model ${field("model")})`;
  } catch {
    return name;
  }
}

function commit(root) {
  try {
    const git = (...args) => execFileSync("git", args, { cwd: root, encoding: "utf8", stdio: "pipe" }).trim();
    return (
      git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain", "--", "assembly", "src") ? "+" : "")
    );
  } catch {
    return "unknown";
  }
}

function digest(bytes) {
  return createHash("sha256").update(bytes).digest("hex").slice(0, 12);
}
