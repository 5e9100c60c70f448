// The view of a tensor beside the table, and what the result says.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { convert, openFiles, openFolder, planned, withPage } from "./browser.mjs";
import { writeFolder, writeTensors } from "./checkpoints.mjs";

/** 128 x 128 of BF16: -1, 0.5, 0.5, 0.5 over and over; and a vector of I64. */
function known(env) {
  const path = join(env.folder, `known-${env.browser}.safetensors`);
  const bytes = Buffer.alloc(2 * 128 * 128);
  for (let i = 0; i < 128 * 128; i++) bytes.writeUInt16LE(i % 4 === 0 ? 0xbf80 : 0x3f00, 2 * i);
  const numbers = Buffer.alloc(24);
  for (const [i, n] of [7n, -8n, 9007199254740993n].entries()) numbers.writeBigInt64LE(n, 8 * i);
  writeTensors(path, [
    { name: "layers.0.a.weight", dtype: "BF16", shape: [128, 128], bytes },
    { name: "layers.0.b.weight", dtype: "BF16", shape: [128, 128], bytes },
    { name: "positions", dtype: "I64", shape: [3], bytes: numbers },
  ]);
  return path;
}

const panel = (page) => page.getByTestId("tensor");

export const tests = [
  {
    name: "a click anywhere on a row opens its tensor; previous, next, Back and Escape work; the table goes on",
    async body(env) {
      await withPage(env, async (page) => {
        await openFiles(page, known(env));
        await planned(page);
        await page.getByRole("row", { name: "layers.0.a.weight" }).locator(".cell.shape").click();
        const heading = (name) => panel(page).getByRole("heading", { name, exact: true });
        await heading("layers.0.a.weight").waitFor();
        await page.waitForFunction(() => document.activeElement.id === "tensor-heading");
        await panel(page).getByRole("button", { name: "Next" }).click();
        await heading("layers.0.b.weight").waitFor();
        await panel(page).getByRole("button", { name: "Previous" }).click();
        await heading("layers.0.a.weight").waitFor();
        assert.ok(await panel(page).getByRole("button", { name: "Previous" }).isDisabled());
        await page.goBack();
        await panel(page).waitFor({ state: "detached" });
        await page.getByTestId("rows").waitFor();
        await page.getByRole("row", { name: "positions" }).locator(".cell.size").click();
        await heading("positions").waitFor();
        await page.keyboard.press("Escape");
        await panel(page).waitFor({ state: "detached" });
        await page.waitForFunction(() => document.activeElement.getAttribute("role") === "grid");
        assert.equal(page.url(), env.url);
      });
    },
  },
  {
    name: "a tensor in figures: least, most, mean, deviation, first values; integers too; and as a file of NumPy",
    async body(env) {
      await withPage(env, async (page) => {
        await openFiles(page, known(env));
        await page.getByRole("row", { name: "layers.0.a.weight" }).locator(".cell.shape").click();
        const text = await panel(page).getByTestId("basics").textContent();
        assert.match(
          text,
          /Smallest-1Largest0\.5Mean0\.125Standard deviation0\.6495First values: -1, 0\.5, 0\.5, 0\.5, -1/,
        );
        if (env.browser === "chromium") {
          const [download] = await Promise.all([
            page.waitForEvent("download"),
            panel(page).getByRole("button", { name: ".npy" }).click(),
          ]);
          const bytes = readFileSync(await download.path());
          const length = bytes.readUInt16LE(8);
          const header = bytes.subarray(10, 10 + length).toString();
          assert.match(header, /'descr': '<f4', 'fortran_order': False, 'shape': \(128, 128\)/);
          assert.equal((10 + length) % 64, 0);
          assert.equal(bytes.length, 10 + length + 4 * 128 * 128);
          assert.deepEqual(
            [0, 4, 16].map((at) => bytes.readFloatLE(10 + length + at)),
            [-1, 0.5, -1],
          );
        }
        await panel(page).getByRole("button", { name: "Next" }).click();
        await panel(page).getByRole("button", { name: "Next" }).click();
        await panel(page).getByText("First values: 7, -8, 9007199254740993").waitFor();
      });
    },
  },
  {
    name: "plots have a value under the pointer and a logarithmic scale; formats stand as dots on one axis",
    async body(env) {
      const input = join(env.folder, `plots-${env.browser}`);
      writeFolder(input, 256);
      await withPage(env, async (page) => {
        await openFolder(page, input);
        await page.getByRole("row", { name: "q_proj" }).first().locator(".cell.shape").click();
        await panel(page).getByTestId("comparison").waitFor();
        const places = await panel(page)
          .locator(".db-axis i")
          .evaluateAll((dots) => dots.map(({ style }) => Number.parseFloat(style.left)));
        assert.ok(places.length >= 3 && places.every((place) => place >= 0 && place <= 100), places.join());
        assert.match(
          await panel(page).getByTestId("comparison").textContent(),
          /good, loses least|fair, loses least/,
        );
        const chart = panel(page).locator(".chart").first();
        await chart.scrollIntoViewIfNeeded();
        const { x, y, width, height } = await chart.boundingBox();
        await page.mouse.move(x + width / 2, y + height / 2);
        await panel(page)
          .getByText(/^2[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+: [\d,]+ → [\d,]+$/)
          .waitFor();
        await panel(page).getByText("Logarithmic counts").click();
        assert.ok(await panel(page).getByRole("checkbox", { name: "Logarithmic counts" }).isChecked());
        const row = await panel(page)
          .locator(".charts")
          .evaluate((grid) => getComputedStyle(grid).gridTemplateColumns);
        assert.ok(row.split(" ").length <= 2, row);
      });
    },
  },
  {
    name: "the result: sizes before and after, what the loss means, how to serve it; the tab's title tells",
    async body(env) {
      const input = join(env.folder, `served-${env.browser}`);
      writeFolder(input, 256);
      await withPage(env, async (page) => {
        await openFolder(page, input);
        await planned(page);
        await convert(page);
        const done = page.getByTestId("done");
        assert.match(await done.getByTestId("change").textContent(), /^[\d.]+ [kM]B → [\d.]+ [kM]B, −\d+%$/);
        assert.match(await done.textContent(), /good: noise is [\d.]+% of the signal/);
        assert.match(await done.textContent(), /vllm serve \.\/[\w.-]+/);
        assert.match(await page.title(), /^Done – blockscale$/);
        assert.equal(await page.evaluate(() => document.activeElement.dataset.testid), "change");
      });
    },
  },
  {
    name: "search takes the patterns that select tensors",
    async body(env) {
      await withPage(env, async (page) => {
        await openFiles(page, known(env));
        const rows = page.locator("[role=rowgroup] [role=row]");
        for (const [typed, count] of [
          ["layers.*.weight", 2],
          ["re:^pos", 1],
          ["re:(", 3],
          ["b weight", 1],
        ]) {
          await page.getByRole("searchbox").fill(typed);
          await page.waitForFunction(
            (wanted) => document.querySelectorAll("[role=rowgroup] [role=row]").length === wanted,
            count,
          );
          assert.equal(await rows.count(), count);
        }
      });
    },
  },
  {
    name: "what the header says besides, and what is odd in a checkpoint, can be read",
    async body(env) {
      const input = join(env.folder, `remarks-${env.browser}.safetensors`);
      const odd = { name: "odd.weight", dtype: "F8_E4M3", shape: [2, 2] };
      writeTensors(input, [odd], { format: "pt", note: "made by a test" });
      await withPage(env, async (page) => {
        await openFiles(page, input);
        await page.getByTestId("metadata").locator("summary").click();
        await page.getByTestId("metadata").getByText("made by a test").waitFor();
        await page.getByText("those tensors are shown as if their scale were 1").waitFor();
      });
    },
  },
];
