// Cloudflare's runtime, served by its own program: workerd.
import { spawn } from "node:child_process";
import { readdir, writeFile } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { verdict } from "../judge.mjs";
import { VALUES } from "../sample.mjs";
import { HERE, run } from "../workspace.mjs";
import { bundleForWorkerd } from "./bundle.mjs";
import { checkpointProblems } from "./checkpoint.mjs";
import { embedding, embedProblems, MOST_MEGABYTES } from "./embed.mjs";

const program = join(HERE, "node_modules/@cloudflare/workerd-linux-64/bin/workerd");

/**
 * Serves the files of a bundle while `ask` runs; `ask` gets the origin and the process.
 * @param storage a folder that the worker reads by its binding STORAGE
 */
export async function serveWorker(folder, main, ask, storage) {
  await writeFile(join(folder, "config.capnp"), await configOf(folder, main, storage));
  const child = spawn(
    program,
    ["serve", "config.capnp", "--socket-addr=http=127.0.0.1:0", "--control-fd=3"],
    {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe", "pipe"],
    },
  );
  let log = "";
  child.stdout.on("data", (text) => (log += text));
  child.stderr.on("data", (text) => (log += text));
  const ended = new Promise((_, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`workerd ended with ${code}: ${log.slice(-2000)}`)));
  });
  ended.catch(() => {});
  const port = new Promise((resolve) =>
    child.stdio[3].on("data", (line) => resolve(JSON.parse(`${line}`.split("\n")[0]).port)),
  );
  try {
    return await Promise.race([ended, port.then((number) => ask(`http://127.0.0.1:${number}`, child.pid))]);
  } catch (error) {
    throw new Error(`${error.message}\n${log.slice(-2000)}`);
  } finally {
    child.kill("SIGKILL");
  }
}

/** A configuration of one worker: the main module and every .wasm file beside it. */
async function configOf(folder, main, storage) {
  const names = [main, ...(await readdir(folder)).filter((name) => extname(name) === ".wasm")];
  const modules = names.map((name) => {
    const kind = extname(name) === ".wasm" ? "wasm" : "esModule";
    return `(name = "./${basename(name)}", ${kind} = embed "${name}")`;
  });
  const bindings = storage === undefined ? "" : ', bindings = [(name = "STORAGE", service = "storage")]';
  const disk = storage === undefined ? "" : `(name = "storage", disk = "${storage}"),`;
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (modules = [${modules.join(", ")}], compatibilityDate = "2026-04-01"${bindings})),
    ${disk}
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [(name = "http", address = "*:0", http = (), service = "main")]
);
`;
}

export const workerd = {
  name: "workerd",
  async drive({ path: project }) {
    const version = (await run(program, ["--version"])).trim().replace("workerd ", "");
    const results = [];
    const line = (place, problems) =>
      results.push({ runtime: "workerd", version, place, build: "relaxed", problems });
    await bundleForWorkerd(project, "workerd.mjs", "workerd");
    const [reports, refusals] = await serveWorker(join(project, "workerd"), "worker.js", (origin) =>
      Promise.all(["", "/threads"].map(async (path) => (await fetch(origin + path)).json())),
    );
    results.push(verdict("workerd", version, "fetch handler", "relaxed", reports));
    line("threads are refused", refusals);
    await bundleForWorkerd(project, "snippets/cloudflare.mjs", "workerd-snippet");
    const text = await serveWorker(join(project, "workerd-snippet"), "worker.js", async (origin) =>
      (await fetch(origin, { method: "POST", body: VALUES })).text(),
    );
    line("snippet cloudflare.mjs", text === "relaxed: scales 118,119" ? [] : [`answered ${text}`]);
    await bundleForWorkerd(project, "examples/worker.mjs", "workerd-checkpoint");
    const folder = join(project, "workerd-checkpoint");
    line(
      "example worker.mjs",
      await serveWorker(folder, "worker.js", (origin) => checkpointProblems(project, origin)),
    );
    await bundleForWorkerd(project, "examples/embed-worker.mjs", "workerd-embed");
    const model = await embedding(project);
    const serving = (ask) => serveWorker(join(project, "workerd-embed"), "worker.js", ask, model.folder);
    const { problems, peak } = await serving((origin, pid) => embedProblems(model, origin, pid));
    if (!(peak < MOST_MEGABYTES)) problems.push(`${peak} MB of memory, and ${MOST_MEGABYTES} are there`);
    line("example embed-worker.mjs", problems);
    return results;
  },
};
