// npm run test:bundlers: builds an app with every bundler from the packed package, and opens it in Chromium.
import { spawn } from "node:child_process";
import { cp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { BROWSERS, installDebian } from "../../support/debian.mjs";
import { freePort } from "../../support/free-port.mjs";
import { open } from "../drivers/launch.mjs";
import { serve } from "../drivers/server.mjs";
import { serveWorker } from "../drivers/workerd.mjs";
import { VALUES } from "../sample.mjs";
import { HERE, installPackages, pack, run, temporaryFolder } from "../workspace.mjs";
import { BUILDS, buildNext, buildWrangler } from "./builds.mjs";

const results = [];

/** No worker can be made from text: the bundler has to emit its file. */
const OWN_WORKERS = {
  "content-security-policy": "script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'",
};

const NODE_THREADS = /^(relaxed|baseline): 2 threads, 64 times 32 and 32$/;
const THREADS = /^relaxed: 2 threads, 64 times 32 and 32$/;

function note(name, text, expected = /threads/.test(name) ? THREADS : /^relaxed: scales 118,119$/) {
  const isGood = expected.test(text);
  results.push(isGood);
  console.log(`${isGood ? "ok  " : "FAIL"}  ${name.padEnd(28)}  ${text}`);
}

/** Runs one bundler; what it throws is a result. */
async function attempt(name, work) {
  const started = Date.now();
  await work().catch((error) => note(name, error.stack ?? String(error)));
  console.log(`      ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

/** A project with the bundlers and the tarball, all installed in one place as a user would have them. */
async function createWorkspace(folder) {
  const { tarball } = await pack(folder);
  const path = join(folder, "apps");
  await cp(join(HERE, "bundlers/apps"), path, { recursive: true });
  for (const name of ["package.json", "package-lock.json"])
    await cp(join(HERE, "bundlers", name), join(path, name));
  const flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"];
  await run("npm", ["ci", ...flags], { cwd: path, timeout: 300_000 });
  await run("npm", ["install", "--no-save", ...flags, tarball], { cwd: path });
  return path;
}

/** Runs `next start` while `work` runs; `work` gets the origin. */
async function serveNext(folder, work) {
  const port = await freePort();
  const next = join(folder, "node_modules/next/dist/bin/next");
  const child = spawn(process.execPath, [next, "start", "-H", "127.0.0.1", "-p", String(port)], {
    cwd: join(folder, "next"),
    env: { ...process.env, NODE_ENV: undefined, NEXT_TELEMETRY_DISABLED: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  try {
    await new Promise((resolve, reject) => {
      let log = "";
      const read = (text) => {
        log += text;
        if (/Ready in/.test(log)) resolve();
      };
      child.stdout.on("data", read);
      child.stderr.on("data", read);
      child.on("exit", () => reject(new Error(`next start: ${log}`)));
    });
    await work(`http://127.0.0.1:${port}`);
  } finally {
    child.kill("SIGKILL");
  }
}

/** Opens pages in one Chromium, one after another: name to URL. */
async function openAll(folder, pages) {
  await cp(join(HERE, "bundlers/collector.js"), join(folder, "collector.js"));
  await writeFile(join(folder, "apps.json"), JSON.stringify(pages));
  const server = await serve(folder, { "/all.html": ["/collector.js"] });
  try {
    const posted = await open("Chromium", `${server.origin}/all.html`, server.posted(), 120_000);
    for (const [name, text] of Object.entries(JSON.parse(posted))) note(name, String(text));
  } finally {
    server.close();
  }
}

async function post(url) {
  return (await fetch(url, { method: "POST", body: VALUES })).text();
}

await installPackages(HERE);
installDebian(BROWSERS);
const temporary = await temporaryFolder();
const servers = [];
try {
  const folder = await createWorkspace(temporary.path);
  const pages = {};
  for (const [name, build] of Object.entries(BUILDS)) {
    await attempt(name, async () => {
      for (const [page, path] of Object.entries(await build(folder))) {
        const slash = path.lastIndexOf("/") + 1;
        const headers = page.includes("worker-src 'self'") ? OWN_WORKERS : {};
        const server = await serve(join(folder, path.slice(0, slash)), {}, headers);
        servers.push(server);
        pages[page] = `${server.origin}/${path.slice(slash) || "index.html"}`;
      }
    });
  }
  await attempt("vite dev", async () => {
    const { createServer: createVite } = await import(
      pathToFileURL(join(folder, "node_modules/vite/dist/node/index.js"))
    );
    const vite = await createVite({
      root: folder,
      configFile: false,
      logLevel: "error",
      server: { port: await freePort(), host: "127.0.0.1" },
    });
    await vite.listen();
    servers.push(vite);
    pages["vite dev"] = vite.resolvedUrls.local[0];
    pages["vite dev, threads"] = `${vite.resolvedUrls.local[0]}threads.html`;
  });
  await attempt("wrangler", async () => {
    const dist = await buildWrangler(folder, join(HERE, "snippets/cloudflare.mjs"));
    note("wrangler deploy --dry-run", await serveWorker(dist, "worker.js", post));
  });
  await attempt("next", async () => {
    await buildNext(folder);
    await serveNext(folder, async (origin) => {
      note("next, node route", await post(`${origin}/node`), /^(relaxed|baseline): scales 118,119$/);
      note("next, edge route", await post(`${origin}/edge`), /^baseline: scales 118,119$/);
      note("next, node route, threads", await (await fetch(`${origin}/threads`)).text(), NODE_THREADS);
      await openAll(folder, { "next, client": origin, "next, client, threads": `${origin}/client-threads` });
    });
  });
  await attempt("Chromium", () => openAll(folder, pages));
  const failed = results.filter((isGood) => !isGood).length;
  console.log(`\n${results.length - failed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
} catch (error) {
  console.error(error.message);
  console.log("\n0 passed, 1 failed");
  process.exitCode = 1;
} finally {
  for (const server of servers) await server.close();
  await temporary.remove();
}
