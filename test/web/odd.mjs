// Odd tensors through every view, and any text in every field: made by a property-based library, from a fixed seed.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { chooseFormat, openFiles, planned, withPage } from "./browser.mjs";
import { writeTensors } from "./checkpoints.mjs";
import { inputsIn } from "./states.mjs";

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

/** Texts that break what reads them: patterns half typed, parts of addresses, anything at all. */
const TEXTS = [
  ...["re:(", "re:", "*", "[", "\\", "%", "https://", "re:(?<", "\ud800", "\0", " ", "\u202e", "👩‍👩‍👧"],
  ...fc.sample(fc.oneof(fc.string(), fc.string({ unit: "binary" })), { seed: SEED, numRuns: 25 }),
];

/** What is JSON and no list of overrides, and lists that are nearly one. */
const NEARLY_OVERRIDES = [
  ...["null", "{}", "[null]", "[{}]", '[{ "pattern": 1 }]', '[{ "pattern": "re:(", "scheme": "keep" }]'],
  '[{ "pattern": "*", "scheme": { "rounding": "up" } }]',
  '[{ "pattern": "*", "scheme": { "amaxFloor": -1 } }]',
  '[{ "pattern": "*", "scheme": "constructor" }]',
  ...fc.sample(fc.json(), { seed: SEED, numRuns: 10 }),
];

/** What to do about overrides that are wrong: one of these is always said. */
const REMEDIES = /Write overrides as|Correct the (regular|value)|Choose one of these/;

/** Types texts into a field one after the other, from inside the page: each is there for a frame. */
const typeAll = (page, selector, texts) =>
  page.locator(selector).evaluate(async (field, all) => {
    for (const text of all) {
      field.value = text;
      field.dispatchEvent(new InputEvent("input", { bubbles: true }));
      await new Promise(requestAnimationFrame);
    }
  }, texts);

/** Texts that a field of the Run view takes as they are. */
const ODD_PROMPTS = ["\0\ud800", "\u202e👩‍👩‍👧 %s {{ x }} </s>", " "];

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
      await withPage(env, async (page) => {
        // What could be a repository is asked of the hub: not from here.
        await page.route("https://**", (route) => route.abort());
        for (const text of TEXTS.filter((one) => !/^\s*[\w.-]+\/[\w.-]+\s*$/.test(one)).slice(0, 12)) {
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
        const fields = ["#include", "#exclude", "[type=search]"];
        for (const field of fields) await typeAll(page, field, [...TEXTS, ""]);
        await planned(page);
        await chooseFormat(page, "compressed-tensors-mixed");
        for (const text of [...NEARLY_OVERRIDES, ...TEXTS]) {
          await typeAll(page, "#overrides", [text]);
          const fault = await page.locator("#overrides-fault").textContent();
          assert.doesNotMatch(fault, /undefined|\[object|reload/i, text);
          if (fault !== "") assert.match(fault, REMEDIES, text);
        }
        await typeAll(page, "#overrides", [""]);
        await planned(page);
        await page.locator(".outcome > button:enabled").waitFor();
        assert.equal(await page.locator("[role=rowgroup] [role=row]").count(), 1);
      });
    },
  },
  {
    name: "any text in every field of Run and Train: the page goes on",
    seconds: 120,
    async body(env) {
      const chat = inputsIn(env.folder)("chat");
      await withPage(env, async (page) => {
        await page.goto(`${env.url}?view=run`);
        const files = readdirSync(chat).map((name) => join(chat, name));
        await page.getByTestId("files").setInputFiles(files);
        await page.getByTestId("run-status").getByText("of weights became").waitFor();
        await page.locator("#run-length").selectOption("20");
        await typeAll(page, "#run-prompt", TEXTS);
        for (const text of ODD_PROMPTS) {
          await typeAll(page, "#run-prompt", [text]);
          await page.getByRole("button", { name: "Go on" }).click();
          await page.getByTestId("positions").waitFor();
        }
        // The context of 256 tokens holds a few more of them, and none.
        await typeAll(page, "#run-prompt", ["x".repeat(250)]);
        await page.getByRole("button", { name: "Go on" }).click();
        await page.getByTestId("positions").waitFor();
        await typeAll(page, "#run-prompt", ["x".repeat(300)]);
        await page.getByRole("button", { name: "Go on" }).click();
        await page.getByRole("alert").getByText("Leave out its beginning.").first().waitFor();
        await page.getByRole("radio", { name: "Measure on a text" }).check();
        await typeAll(page, "#run-text", [...TEXTS, ODD_PROMPTS.join("").repeat(10)]);
        await page.getByRole("button", { name: "Measure", exact: true }).click();
        await page.getByTestId("measured").waitFor();
        await page.getByRole("radio", { name: "Chat" }).check();
        await typeAll(page, "#run-message", [...TEXTS, ODD_PROMPTS[1]]);
        await page.locator("#run-message").press("Enter");
        await page.getByTestId("turns").locator("li p >> nth=1").getByText(/./).waitFor();
        // The answer fills the model's context in a moment: there may be no time to stop it.
        await page.getByRole("button", { name: "Send" }).waitFor();
        assert.equal(await page.getByRole("alert").textContent(), "");
        await page.goto(`${env.url}?view=train&text=own&steps=50`);
        await typeAll(page, "#train-own", TEXTS);
        await page.getByRole("button", { name: "Train", exact: true }).click();
        await page.getByRole("alert").getByText("At least 256 bytes").waitFor();
        await typeAll(page, "#train-own", [ODD_PROMPTS.join("\n").repeat(20)]);
        await page.locator(".train button[type=submit]").click();
        await page.getByTestId("losses").waitFor();
        await page.getByRole("button", { name: "Stop" }).click();
      });
    },
  },
];
