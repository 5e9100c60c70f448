// Three gigabytes in Chromium, with what they cost measured: memory of the whole browser, tasks of the main thread.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createReadStream, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createXXHash64 } from "hash-wasm";
import { convert, openFiles, planned, withPage, written } from "./browser.mjs";
import { writeLarge } from "./checkpoints.mjs";

/** Proportional set size in MB of a profile's browser: what it and its children really hold. */
function memoryOf(profile) {
  const parents = new Map();
  const commands = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      commands.set(pid, readFileSync(`/proc/${pid}/cmdline`, "utf8"));
      parents.set(pid, readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1).split(" ")[1]);
    } catch {} // ended meanwhile
  }
  const roots = [...commands].filter(([, command]) => command.includes(profile)).map(([pid]) => pid);
  const isOurs = (pid) => pid !== undefined && (roots.includes(pid) || isOurs(parents.get(pid)));
  let kilobytes = 0;
  for (const pid of commands.keys()) {
    if (!isOurs(pid)) continue;
    try {
      const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
      kilobytes += Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
    } catch {}
  }
  return kilobytes / 1000;
}

async function xxh64(path) {
  const hasher = await createXXHash64();
  hasher.init();
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 22 })) hasher.update(chunk);
  return hasher.digest("hex");
}

/** Collects tasks of more than 50 ms, and in browsers that do not report them, turns of the event loop that came late. */
function watchTasks() {
  window.tasks = [];
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) window.tasks.push(Math.round(duration));
  }).observe({ type: "longtask" });
}

export const tests = [
  {
    name: "3 GiB: byte for byte the command line's, under 500 MB, no task over 50 ms",
    browsers: ["chromium"],
    seconds: 400,
    async body(env) {
      const input = join(env.folder, "3gib.safetensors");
      const expected = join(env.folder, "3gib-fp8.safetensors");
      try {
        writeLarge(input, 3 * 2 ** 30);
        let told;
        await withPage(
          env,
          async (page, _, profile) => {
            await openFiles(page, input);
            await planned(page);
            await page.getByText(/^about /).waitFor();
            const before = memoryOf(profile);
            let most = before;
            const timer = setInterval(() => {
              most = Math.max(most, memoryOf(profile));
            }, 500);
            await page.evaluate(watchTasks);
            const estimate = await page.getByText(/^about /).textContent();
            const start = performance.now();
            await convert(page, 300_000);
            const seconds = (performance.now() - start) / 1000;
            clearInterval(timer);
            [told] = await written(page);
            const tasks = await page.evaluate(() => window.tasks);
            console.log(
              `        ${seconds.toFixed(0)} s (${estimate}), memory ${before.toFixed(0)} MB before, ` +
                `${(most - before).toFixed(0)} MB more at most, long tasks: [${tasks}]`,
            );
            assert.ok(most - before < 500, `${(most - before).toFixed(0)} MB`);
            assert.deepEqual(tasks, []);
          },
          { reducedMotion: "reduce" },
        );
        execFileSync("node", [join(env.root, "dist/cli/main.js"), "quantize", input, expected, "--json"], {
          stdio: ["ignore", "ignore", "inherit"],
        });
        assert.equal(told.checksum, await xxh64(expected));
      } finally {
        rmSync(input, { force: true });
        rmSync(expected, { force: true });
      }
    },
  },
];
