// What large files cost in Chromium, measured: tasks of the main thread, memory of the whole browser.
import assert from "node:assert/strict";
import { createReadStream, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createXXHash64 } from "hash-wasm";
import { convert, openReady, withPage, written } from "./browser.mjs";
import { writeLarge, writeMany } from "./checkpoints.mjs";
import { run } from "./command-line.mjs";
import { referenceTime, tasksDuring } from "./tasks.mjs";

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

/** Series at most: what the garbage collector adds to a task, when it likes, is not in the least of them. */
const SERIES = 3;

/**
 * Sees to it that in each step no task takes more than `limit` times the reference: the least of up to three
 * series counts, each in a page of its own. `stepsOf(page)` gives the steps of one, by name; each takes more than
 * `fewest` tasks.
 */
async function boundTasks(env, limit, stepsOf, fewest = 0) {
  const least = {};
  const isOver = () =>
    Object.keys(least).length === 0 || Object.values(least).some((ratio) => ratio >= limit);
  for (let i = 0; i < SERIES && isOver(); i++) {
    await withPage(env, async (page) => {
      const reference = await referenceTime(page);
      const longest = {};
      for (const [name, step] of Object.entries(await stepsOf(page))) {
        const tasks = await tasksDuring(page, step);
        assert.ok(reference > 0 && tasks.length > fewest, `${name}: ${tasks.length} tasks were recorded`);
        longest[name] = Math.round(Math.max(...tasks));
        least[name] = Math.min(least[name] ?? Infinity, longest[name] / reference);
      }
      console.log(
        `        the longest task of each, in ms: ${JSON.stringify(longest)}, of the reference: ${reference.toFixed(0)}`,
      );
    });
  }
  for (const [name, ratio] of Object.entries(least))
    assert.ok(ratio < limit, `${name}: ${ratio.toFixed(2)} of the reference`);
}

export const tests = [
  {
    name: "no task of the main thread over an eighth of the reference while converting",
    browsers: ["chromium"],
    async body(env) {
      const input = join(env.folder, "tasks.safetensors");
      writeLarge(input, 5e8);
      const steps = async (page) => {
        await openReady(page, input);
        return { convert: () => convert(page) };
      };
      await boundTasks(env, 1 / 8, steps, 100);
      rmSync(input);
    },
  },
  {
    name: "ninety thousand tensors: no task over a third of the reference while they are opened, planned, searched, sorted, scrolled",
    browsers: ["chromium"],
    async body(env) {
      const input = join(env.folder, "many.safetensors");
      writeMany(input, 90_000);
      await boundTasks(env, 1 / 3, (page) => {
        const grid = page.getByRole("grid");
        return {
          open: () => openReady(page, input),
          async scroll() {
            await grid.hover();
            for (let i = 0; i < 20; i++) await page.mouse.wheel(0, 30_000);
            await grid.press("End");
            await page.getByRole("row", { name: "layers.8999.mlp.experts.9" }).waitFor();
          },
          async search() {
            await page.getByRole("searchbox").pressSequentially("experts.7 layers.8");
            await page.getByText("1,111 of 90,000", { exact: true }).waitFor();
            await page.getByRole("searchbox").fill("");
            await page.getByText("90,000 of 90,000", { exact: true }).waitFor();
          },
          async sort() {
            for (const column of ["Name", "Name", "Shape", "Type", "Size"]) {
              await page.getByRole("button", { name: column, exact: true }).click();
            }
          },
          async exclude() {
            await page.getByText("Choose tensors by name").click();
            await page.locator("#exclude").fill("*.7.up_proj.weight");
            await page.getByText("81,000 of 90,000 tensors change").waitFor();
          },
        };
      });
      rmSync(input);
    },
  },
  {
    name: "ninety thousand tensors as a tree: no task over two thirds of the reference while it is made, opened, searched, scrolled",
    browsers: ["chromium"],
    async body(env) {
      const input = join(env.folder, "many-in-a-tree.safetensors");
      writeMany(input, 90_000);
      await boundTasks(env, 2 / 3, async (page) => {
        await openReady(page, input);
        const grid = page.getByRole("treegrid");
        const lines = (count) =>
          page.waitForFunction(
            (wanted) => document.querySelector("[role=treegrid]")?.ariaRowCount === String(wanted + 1),
            count,
          );
        return {
          async make() {
            await page.getByLabel("By layer").check();
            await lines(1);
          },
          async open() {
            await grid.press("ArrowRight");
            await lines(9001);
          },
          async scroll() {
            await grid.hover();
            for (let i = 0; i < 20; i++) await page.mouse.wheel(0, 30_000);
            await grid.press("End");
            await page.getByRole("row", { name: "8999" }).waitFor();
          },
          async search() {
            await page.getByRole("searchbox").pressSequentially("experts.7 layers.8");
            await page.getByText("1,111 of 90,000", { exact: true }).waitFor();
            await lines(1112);
            await page.getByRole("searchbox").fill("up_proj");
            // Everything is found, and what is found is open.
            await lines(99_001);
            await page.getByRole("searchbox").fill("");
            await lines(9001);
          },
        };
      });
      rmSync(input);
    },
  },
  {
    name: "beyond 2^31 bytes: byte for byte the command line's, and under 500 MB of memory",
    browsers: ["chromium"],
    seconds: 400,
    async body(env) {
      const input = join(env.folder, "huge.safetensors");
      const expected = join(env.folder, "huge-fp8.safetensors");
      try {
        writeLarge(input, 1.1 * 2 ** 31);
        const theirs = run(env, "quantize", input, expected, "--json");
        let told;
        const ours = withPage(
          env,
          async (page, _, profile) => {
            await openReady(page, input);
            const before = memoryOf(profile);
            let most = before;
            const timer = setInterval(() => {
              most = Math.max(most, memoryOf(profile));
            }, 500);
            const estimate = await page.getByText(/^about /).textContent();
            const start = performance.now();
            await convert(page, 300_000);
            const seconds = (performance.now() - start) / 1000;
            clearInterval(timer);
            [told] = await written(page);
            console.log(
              `        ${seconds.toFixed(0)} s (${estimate}), memory ${before.toFixed(0)} MB before, ` +
                `${(most - before).toFixed(0)} MB more at most`,
            );
            assert.ok(most - before < 500, `${(most - before).toFixed(0)} MB`);
          },
          { reducedMotion: "reduce" },
        );
        // Both come to their end, also where one fails: a second attempt writes the same files.
        for (const { reason } of await Promise.allSettled([ours, theirs])) if (reason) throw reason;
        assert.equal(told.checksum, await xxh64(expected));
      } finally {
        rmSync(input, { force: true });
        rmSync(expected, { force: true });
      }
    },
  },
];
