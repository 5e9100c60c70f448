// Pictures of a tensor: axes, values of a block, contrast in every look, tensors of a single value.
import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { openFiles, planned, withPage } from "./browser.mjs";
import { writeTensors } from "./checkpoints.mjs";
import { withSabotage } from "./failures.mjs";
import { settled } from "./states.mjs";

const bitsOf = (value) => new Uint32Array(new Float32Array([value]).buffer)[0] >>> 16;

/** BF16 of a function of row and column. */
function matrix(name, rows, cols, value) {
  const bytes = Buffer.alloc(2 * rows * cols);
  for (let i = 0; i < rows * cols; i++)
    bytes.writeUInt16LE(bitsOf(value(Math.floor(i / cols), i % cols)), 2 * i);
  return { name, dtype: "BF16", shape: [rows, cols], bytes };
}

/** Larger with every block of 128 x 128, and different in each place. */
const grown = (r, c) =>
  2 ** (Math.floor(r / 128) * 3 + Math.floor(c / 128)) * (1 + ((r * 31 + c * 7) % 128) / 128);

function input(env) {
  const path = join(env.folder, `plots-${env.browser}.safetensors`);
  writeTensors(path, [
    matrix("grown.weight", 300, 384, grown),
    matrix("ones.weight", 128, 128, () => 1),
    matrix("single.weight", 1, 1, () => 1),
  ]);
  return path;
}

const panel = (page) => page.getByTestId("tensor");

async function show(page, name) {
  await page.getByRole("row", { name }).locator(".cell.shape").click();
  await panel(page).getByTestId("charts").waitFor();
}

/** What an engine in Node makes of the values. */
async function became(env) {
  const { load, schemes } = await import(pathToFileURL(join(env.root, "dist/index.js")).href);
  const fp8 = await load();
  const values = Float32Array.from({ length: 300 * 384 }, (_, i) => grown(Math.floor(i / 384), i % 384));
  return fp8.dequantize(fp8.quantize(values, [300, 384], schemes.deepseekWeight));
}

const text = (value) => String(Number(value.toPrecision(4)));

/** Contrast of two computed colours: WCAG 2.2, 1.4.11. */
function contrast(a, b) {
  const light = (colour) => {
    const [r, g, blue] = colour
      .match(/[\d.]+/g)
      .slice(0, 3)
      .map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * blue;
  };
  const [x, y] = [light(a), light(b)];
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
}

/** The colours that each chart is drawn with, how many of its pixels have them, and what lies behind it. */
function coloursOf(page) {
  return page.getByTestId("charts").evaluate((charts) => {
    const probe = document.createElement("i");
    probe.style.forcedColorAdjust = "none";
    charts.append(probe);
    const colour = (name) => {
      probe.style.color = `var(--${name})`;
      return getComputedStyle(probe).color;
    };
    const wanted = { before: colour("before"), accent: colour("accent"), text: colour("muted") };
    probe.remove();
    return [...charts.querySelectorAll(".chart canvas")].map((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const counts = {};
      for (let i = 0; i < data.length; i += 4) {
        if (data[i + 3] !== 255) continue;
        const key = `rgb(${data[i]}, ${data[i + 1]}, ${data[i + 2]})`;
        counts[key] = (counts[key] ?? 0) + 1;
      }
      const behind = getComputedStyle(canvas.closest(".panel")).backgroundColor;
      const series = Object.entries(wanted).map(([name, rgb]) => [name, { rgb, pixels: counts[rgb] ?? 0 }]);
      return { behind, ...Object.fromEntries(series) };
    });
  });
}

const LOOKS = [
  { name: "light", colorScheme: "light" },
  { name: "dark", colorScheme: "dark" },
  // Firefox, driven from outside, has no forced colours to offer.
  { name: "forced colours on light", colorScheme: "light", forcedColors: "active", only: "chromium" },
  { name: "forced colours on dark", colorScheme: "dark", forcedColors: "active", only: "chromium" },
];

export const tests = [
  {
    name: "heat map: numbers along both sides; a click or Enter shows a block before and after, as Node makes it",
    async body(env) {
      const after = await became(env);
      await withPage(env, async (page) => {
        await openFiles(page, input(env));
        await planned(page);
        await show(page, "grown.weight");
        const axes = panel(page).locator(".heat-axis");
        const numbers = (i) =>
          axes
            .nth(i)
            .locator("span")
            .evaluateAll((all) => all.map((one) => one.innerText.replace(/\s+/g, " ")));
        assert.deepEqual(await numbers(0), ["0 0", "1 128", "2 256"]);
        assert.deepEqual(await numbers(1), ["0 0", "1 128", "2 256"]);
        const heat = panel(page).getByTestId("heat");
        const { width, height } = await heat.boundingBox();
        await heat.click({ position: { x: width * 0.5, y: height * 0.84 } });
        const block = panel(page).getByTestId("block");
        await block.getByRole("heading", { name: "Block (2, 1)" }).waitFor();
        await page.waitForFunction(() => document.activeElement.id === "block-heading");
        await block.getByText("rows 256–299, columns 128–255", { exact: true }).waitFor();
        await block.getByText("The first 16 × 128 of 44 × 128 values").waitFor();
        const table = await block
          .locator("tbody tr")
          .evaluateAll((rows) =>
            rows.map((row) => [...row.querySelectorAll("td")].map((cell) => cell.textContent)),
          );
        const rowOf = (value) => (r) => Array.from({ length: 128 }, (_, c) => text(value(256 + r, 128 + c)));
        const expected = Array.from({ length: 16 }, (_, r) => [
          rowOf(grown)(r),
          rowOf((row, col) => after[row * 384 + col])(r),
        ]).flat();
        assert.deepEqual(table, expected);
        // 2^7 up to nearly 2^8: 448 / 2^8 rounded up to a power of two.
        assert.equal(await block.locator("[data-figure=scale]").textContent(), "1");
        let error = 0;
        for (let r = 256; r < 300; r++)
          for (let c = 128; c < 256; c++) error = Math.max(error, Math.abs(after[r * 384 + c] - grown(r, c)));
        assert.equal(await block.locator("[data-figure=error]").textContent(), text(error));
        await block.getByRole("button", { name: "Close the block" }).click();
        await page.waitForFunction(() => document.activeElement.dataset.testid === "heat");
        for (const key of [
          "Home",
          "ArrowUp",
          "ArrowUp",
          "ArrowRight",
          "ArrowRight",
          "ArrowRight",
          "ArrowDown",
        ])
          await page.keyboard.press(key);
        await panel(page)
          .getByText(/^block \(1, 2\): scale 2/)
          .waitFor();
        await page.keyboard.press("Enter");
        await block.getByRole("heading", { name: "Block (1, 2)" }).waitFor();
        await page.setViewportSize({ width: 390, height: 800 });
        assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 390);
        await page.setViewportSize({ width: 1280, height: 860 });
      });
    },
  },
  {
    name: "heat map: of two blocks the one that was asked for last is shown, whichever comes first",
    async body(env) {
      const late = `let first = true;
const post = self.postMessage.bind(self);
self.postMessage = (data) => {
  const isLate = first && data.value?.before !== undefined;
  if (isLate) first = false;
  setTimeout(() => post(data), isLate ? 600 : 0);
};`;
      await withSabotage(env, late, async (page) => {
        await openFiles(page, input(env));
        await planned(page);
        await show(page, "grown.weight");
        const heat = panel(page).getByTestId("heat");
        await heat.focus();
        await page.keyboard.press("Enter");
        await page.keyboard.press("ArrowRight");
        await page.keyboard.press("Enter");
        const heading = panel(page).getByTestId("block").getByRole("heading");
        await panel(page).getByRole("heading", { name: "Block (0, 1)" }).waitFor();
        await page.waitForTimeout(900);
        assert.equal(await heading.textContent(), "Block (0, 1)");
      });
    },
  },
  {
    name: "plots stand out from what lies behind them, 3 to 1, in light, dark and forced colours",
    async body(env) {
      await withPage(env, async (page) => {
        await openFiles(page, input(env));
        await planned(page);
        await show(page, "grown.weight");
        for (const { name, only, ...look } of LOOKS) {
          if (only !== undefined && only !== env.browser) continue;
          await page.emulateMedia({ forcedColors: "none", ...look });
          await settled(page);
          const [values, errors] = await coloursOf(page);
          for (const [chart, parts] of [
            [values, ["before", "accent", "text"]],
            [errors, ["accent", "text"]],
          ]) {
            for (const part of parts) {
              const { rgb, pixels } = chart[part];
              const found = contrast(rgb, chart.behind);
              assert.ok(pixels > 20, `${name}: ${pixels} pixels are ${part}, ${rgb}`);
              assert.ok(
                found >= (part === "text" ? 4.5 : 3),
                `${name}: ${part} ${rgb} on ${chart.behind}: ${found}`,
              );
            }
          }
        }
        await page.emulateMedia({ forcedColors: null, colorScheme: null });
      });
    },
  },
  {
    name: "plots of a tensor of one value, and of a single element: one bar in the middle, one scale",
    async body(env) {
      await withPage(env, async (page) => {
        await openFiles(page, input(env));
        await planned(page);
        for (const name of ["ones.weight", "single.weight"]) {
          await show(page, name);
          await panel(page).getByRole("heading", { name, exact: true }).waitFor();
          await panel(page).getByText("All scales are 2⁻⁸").waitFor();
          const { width } = await panel(page).getByTestId("heat").boundingBox();
          assert.ok(width < 60, `a single block is ${width} px wide`);
          const places = await panel(page)
            .locator(".chart")
            .evaluateAll((charts) =>
              charts.map((chart) => {
                const canvas = chart.querySelector("canvas");
                const over = chart.querySelector(".u-over").getBoundingClientRect();
                const box = canvas.getBoundingClientRect();
                const probe = document.createElement("i");
                probe.style.color = "var(--accent)";
                chart.append(probe);
                const [r, g, b] = getComputedStyle(probe).color.match(/\d+/g).map(Number);
                probe.remove();
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                const xs = [];
                for (let i = 0; i < data.length; i += 4)
                  if (data[i + 3] === 255 && data[i] === r && data[i + 1] === g && data[i + 2] === b)
                    xs.push((i / 4) % canvas.width);
                const middle =
                  ((Math.min(...new Set(xs)) + Math.max(...new Set(xs))) / 2) * (box.width / canvas.width);
                return (middle - (over.left - box.left)) / over.width;
              }),
            );
          assert.equal(places.length, 2);
          for (const place of places) assert.ok(Math.abs(place - 0.5) < 0.05, `${name}: ${places}`);
          await page.keyboard.press("Escape");
        }
      });
    },
  },
];
