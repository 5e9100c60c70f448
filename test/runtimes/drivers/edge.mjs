// Vercel's edge runtime, with the compilation of bytes forbidden as it is when hosted.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { EdgeRuntime } from "edge-runtime";
import { threadsVerdict, verdict } from "../judge.mjs";
import { VALUES } from "../sample.mjs";
import { bundleForEdge } from "./bundle.mjs";

const { version } = createRequire(import.meta.url)("edge-runtime/package.json");

/**
 * A runtime in which a bundle has run; its .wasm files are compiled out
 * here, in another realm than the script's.
 */
async function runtimeOf(project, entry, more = "") {
  const { script, files } = await bundleForEdge(project, entry);
  const modules = {};
  for (const [name, path] of files) modules[name] = await WebAssembly.compile(await readFile(path));
  return new EdgeRuntime({
    codeGeneration: { strings: false, wasm: false },
    extend: (context) => Object.assign(context, modules),
    initialCode: `${script}\n${more}`,
  });
}

export const edge = {
  name: "edge-runtime",
  async drive({ path: project }) {
    const ask = async (runtime, options, path = "") =>
      (await runtime.dispatchFetch(`https://edge.test/${path}`, options)).text();
    const main = await runtimeOf(project, "edge.mjs");
    const reports = JSON.parse(await ask(main));
    const problems = JSON.parse(await ask(main, {}, "threads"));
    const listen = 'addEventListener("fetch", (event) => event.respondWith(bundle.POST(event.request)));';
    const snippet = await runtimeOf(project, "snippets/vercel.mjs", listen);
    const text = await ask(snippet, { method: "POST", body: VALUES });
    return [
      verdict("edge-runtime", version, "fetch handler", "baseline", reports),
      threadsVerdict("edge-runtime", version, "threads are refused", "baseline", { problems }),
      {
        runtime: "edge-runtime",
        version,
        place: "snippet vercel.mjs",
        build: "baseline",
        problems: text === "baseline: scales 118,119" ? [] : [`answered ${text}`],
      },
    ];
  },
};
