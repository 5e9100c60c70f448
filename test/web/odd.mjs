// Odd tensors through every view, and any text in every field: made by a property-based library, from a fixed seed.
import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { openFiles, planned, withPage } from "./browser.mjs";
import { writeTensors } from "./checkpoints.mjs";

const sides = fc.constantFrom(0, 1, 2, 3, 31, 32, 33, 128, 129);
const shapes = fc.oneof(
  fc.constant([]),
  fc.tuple(sides),
  fc.tuple(sides, sides),
  fc.tuple(fc.constantFrom(0, 1, 2), sides, sides),
);

/** Bits of BF16: zeros, one power of two, NaN, Inf, the largest, the smallest, anything. */
const patterns = fc.constantFrom(
  () => 0,
  () => 0x3f80,
  () => 0x7fc0,
  () => 0x7f80,
  () => 0x7f7f,
  () => 0x0001,
  (i) => (i * 40503) & 0xffff,
  (i) => 0x3c00 + (i % 7),
);

const tensors = fc.record({
  dtype: fc.constantFrom("BF16", "BF16", "F16", "F32", "F64", "I64", "F8_E4M3"),
  shape: shapes,
  pattern: patterns,
});

/** A tensor with its bytes: the pattern, two bytes at a time. */
function made({ dtype, shape, pattern }, i) {
  const wide = { BF16: 1, F16: 1, F32: 2, F64: 4, I64: 4 }[dtype];
  const count = shape.reduce((n, side) => n * side, 1);
  const bytes = wide === undefined ? Buffer.alloc(count) : Buffer.alloc(2 * wide * count);
  for (let at = 0; at + 1 < bytes.length; at += 2) bytes.writeUInt16LE(pattern(at / 2), at);
  return { name: `layers.${i}.${dtype}.weight`, dtype, shape, bytes };
}

const SEED = 20;

export const tests = [
  {
    name: "odd tensors through every view: of every dtype and shape, empty, NaN, zero, one power of two",
    seconds: 240,
    async body(env) {
      const [samples] = fc.sample(fc.array(tensors, { minLength: 40, maxLength: 40 }), {
        seed: SEED,
        numRuns: 1,
      });
      const always = [[0, 5], [], [1, 1], [5, 0]].map((shape) => ({
        dtype: "BF16",
        shape,
        pattern: () => 0x3f80,
      }));
      const input = join(env.folder, `odd-${env.browser}.safetensors`);
      const all = [...always, ...samples].map(made);
      writeTensors(input, all);
      await withPage(env, async (page) => {
        await openFiles(page, input);
        for (const { name } of all) {
          await page.getByRole("searchbox").fill(name);
          await page.locator(".cell.name .link").first().click();
          const view = page.locator("[data-testid=tensor]");
          await view.getByRole("heading", { name, exact: true }).waitFor();
          await view.locator("[data-testid=charts], [data-testid=nothing]").first().waitFor();
          assert.equal(await view.getByRole("alert").count(), 0, name);
          // The first values may well be NaN.
          const text = await view.evaluate((panel) => {
            const copy = panel.cloneNode(true);
            copy.querySelector(".first-values")?.remove();
            return copy.textContent;
          });
          assert.doesNotMatch(text, /\b(NaN|undefined|null)\b(?! or Inf)/, name);
          await page.keyboard.press("Escape");
        }
      });
    },
  },
  {
    name: "scales that fit no block: the other tensors can be looked at",
    async body(env) {
      const input = join(env.folder, `misfit-${env.browser}.safetensors`);
      writeTensors(input, [
        { name: "a.weight", dtype: "F8_E4M3", shape: [256, 256] },
        { name: "a.weight_scale_inv", dtype: "F32", shape: [5, 7] },
        { name: "b.weight", dtype: "BF16", shape: [128, 128], bytes: Buffer.alloc(2 * 128 * 128, 0x3f) },
      ]);
      await withPage(env, async (page) => {
        await openFiles(page, input);
        await page.getByRole("row", { name: "b.weight" }).locator(".cell.shape").click();
        await page.getByTestId("charts").waitFor();
        await page.keyboard.press("Escape");
        await page.getByRole("row", { name: "a.weight_scale_inv" }).first().locator(".cell.shape").click();
        await page.getByTestId("warnings").nth(1).getByText("which fits no known block").waitFor();
      });
    },
  },
  {
    name: "any text in every field: the page goes on",
    seconds: 120,
    async body(env) {
      const input = join(env.folder, `fields-${env.browser}.safetensors`);
      writeTensors(input, [made({ dtype: "BF16", shape: [128, 128], pattern: () => 0x3f80 }, 0)]);
      const texts = [
        "re:(",
        "re:",
        "*",
        "[",
        "\\",
        "%",
        "https://",
        "re:(?<",
        ...fc.sample(fc.oneof(fc.string(), fc.string({ unit: "binary" })), { seed: SEED, numRuns: 25 }),
      ];
      await withPage(env, async (page) => {
        // What could be a repository is asked of the hub: not from here.
        await page.route("https://**", (route) => route.abort());
        for (const text of texts.filter((one) => !/^\s*[\w.-]+\/[\w.-]+\s*$/.test(one)).slice(0, 12)) {
          await page.locator("#place").fill(text);
          await page.locator("#place").press("Enter");
          await page.locator("#place:enabled").waitFor();
        }
        page.errors.splice(
          0,
          page.errors.length,
          ...page.errors.filter((one) => !/Failed to load|CORS/.test(one)),
        );
        await openFiles(page, input);
        await planned(page);
        await page.getByText("Choose tensors by name").click();
        for (const text of texts) {
          for (const field of ["#include", "#exclude", "[type=search]"]) await page.locator(field).fill(text);
        }
        await page.waitForTimeout(400);
        for (const field of ["#include", "#exclude", "[type=search]"]) await page.locator(field).fill("");
        await planned(page);
        await page.locator(".outcome > button:enabled").waitFor();
        assert.equal(await page.locator("[role=rowgroup] [role=row]").count(), 1);
      });
    },
  },
];
