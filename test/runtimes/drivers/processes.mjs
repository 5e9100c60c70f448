// Node, Deno and Bun: programs that run a module and print.
import { join } from "node:path";
import { threadsVerdict, verdict } from "../judge.mjs";
import { HERE, run } from "../workspace.mjs";

const NODES = { 20: "baseline", 22: "relaxed", 24: "relaxed", 26: "relaxed" };
const modules = join(HERE, "node_modules");

/** name, program, its parameters, and the build it should choose. Deno gets no permission at all. */
const PROCESSES = [
  ...Object.entries(NODES).map(([major, build]) => [
    "Node",
    join(modules, `node${major}/bin/node`),
    [],
    build,
  ]),
  ["Deno", join(modules, "@deno/linux-x64-glibc/deno"), ["run", "--no-prompt", "--cached-only"], "relaxed"],
  ["Bun", join(modules, "@oven/bun-linux-x64/bin/bun"), ["run"], "relaxed"],
];

const COMMAND = "node_modules/blockscale/dist/cli/main.js";

/** What the README's files print, among other things. */
const SNIPPETS = {
  "quantize.mjs": "scales 118,119",
  "require.cjs": "scales 118,119",
  "threads.mjs": "64 elements, the first 32",
};

/** The edge worker's example on a folder. */
const EXAMPLE = ["examples/embed.mjs", "models/bert", "cats sleep", "dogs run fast", "cats sleep and run"];
const EXAMPLE_SAYS = "3 vectors of 128; nearest to";

/** The command reads files, and its libraries the environment. */
const COMMAND_PERMISSIONS = { Node: [], Deno: ["--allow-read", "--allow-env", "--allow-sys"], Bun: [] };

/** Deno keeps its caches in the project, and asks nobody for updates. */
const environment = (project) => ({ DENO_DIR: join(project, ".deno"), DENO_NO_UPDATE_CHECK: "1" });

export const processes = PROCESSES.map(([runtime, program, parameters, build]) => ({
  name: runtime,
  async drive({ path: project }) {
    const options = { cwd: project, env: environment(project) };
    const version = (await run(program, ["--version"], options)).match(/\d+\.\d+\.\d+/)[0];
    const printed = await run(program, [...parameters, "main.mjs"], options);
    const threads = await run(program, [...parameters, "threads-main.mjs"], options);
    const reading = runtime === "Deno" ? ["--allow-read"] : [];
    const models = await run(program, [...parameters, ...reading, "models-main.mjs"], options);
    const results = [
      verdict(runtime, version, "module", build, JSON.parse(printed)),
      threadsVerdict(runtime, version, "threads", build, { problems: JSON.parse(threads) }),
      { runtime, version, place: "models", build, problems: JSON.parse(models) },
    ];
    if (runtime !== "Bun") {
      const shown = await run(program, [...parameters, ...reading, ...EXAMPLE], options);
      const problems = shown.includes(EXAMPLE_SAYS) ? [] : [`printed ${shown}`];
      results.push({ runtime, version, place: "example embed.mjs", build, problems });
    }
    const help = await run(
      program,
      [...parameters, ...COMMAND_PERMISSIONS[runtime], COMMAND, "--help"],
      options,
    );
    const lacking = ["quantize", "inspect"].filter((verb) => !help.includes(verb));
    results.push({ runtime, version, place: "command line", build, problems: lacking });
    for (const [snippet, words] of Object.entries(SNIPPETS)) {
      if (snippet.endsWith(".cjs") && runtime !== "Node") continue;
      const shown = await run(program, [...parameters, `snippets/${snippet}`], options);
      const problems = shown.includes(words) ? [] : [`printed ${shown}`];
      results.push({ runtime, version, place: `snippet ${snippet}`, build, problems });
    }
    return results;
  },
}));
