// Links, examples, and the playground: what an address says is what the page shows.
import assert from "node:assert/strict";
import { planned, withPage } from "./browser.mjs";

const figure = (page, name) => page.locator(`[data-figure=${name}]`).last().textContent();

/** Waits until the address holds a text. */
const addressHolds = (page, text) => page.waitForFunction((part) => location.search.includes(part), text);

export const tests = [
  {
    name: "examples open, and their address opens them again, at the tensor and the format of the link",
    async body(env) {
      await withPage(env, async (page) => {
        await page.getByRole("button", { name: /^Difficult weights/ }).click();
        await page.getByTestId("rows").waitFor();
        await planned(page);
        await addressHolds(page, "example=outliers");
        const tensor = "model.layers.0.mlp.up_proj.weight";
        await page.goto(`${env.url}?example=outliers&tensor=${tensor}&format=mxfp8`);
        await page.getByTestId("comparison").waitFor();
        await page.getByRole("heading", { name: tensor }).waitFor();
        await page.keyboard.press("Escape");
        assert.equal(await page.locator("#dialect").inputValue(), "mxfp8");
        await page.goto(`${env.url}?example=outliers&format=compressed-tensors-mixed`);
        await planned(page);
        assert.equal(await page.locator("#dialect").inputValue(), "compressed-tensors-mixed");
      });
    },
  },
  {
    name: "links that ask for what is not there: it is said, in both languages, and the rest is shown",
    async body(env) {
      await withPage(env, async (page) => {
        const notes = page.getByRole("alert").locator("strong");
        const says = (...texts) => Promise.all(texts.map((text) => notes.getByText(text).waitFor()));
        await page.goto(`${env.url}?example=outliers&format=nonsense&tensor=no.weight`);
        await planned(page);
        await says(/a format “nonsense”/, /a tensor no\.weight/);
        assert.equal(await page.locator("#dialect").inputValue(), "deepseek-v3.1");
        await page.getByRole("button", { name: "中文" }).click();
        await says(/格式 “nonsense”/, /张量 no\.weight/);
        await page.getByRole("button", { name: "English" }).click();
        await page.getByRole("button", { name: "Close" }).first().click();
        assert.equal(await notes.count(), 1);
        await page.goto(`${env.url}?view=run&example=stories&format=compressed-tensors-mixed`);
        await says(/a format “compressed-tensors-mixed”/);
        for (const [link, name] of [
          ["example=../../etc&format=nonsense", "../../etc"],
          ["model=ftp://example.org/a", "ftp://example.org/a"],
          ["view=nowhere", "nowhere"],
        ]) {
          await page.goto(`${env.url}?${link}`);
          await page.getByRole("heading", { name: "Make an FP8 copy" }).waitFor();
          await says(`“${name}”, which is not there`);
        }
      });
    },
  },
  {
    name: "the FP8 example is one",
    async body(env) {
      await withPage(env, async (page) => {
        await page.goto(`${env.url}?example=stories-fp8`);
        await page.getByText("Quantised: deepseek-v3.1").waitFor();
      });
    },
  },
  {
    name: "playground: the cell that is pointed at, its code and its scale, as the kernels make them",
    async body(env) {
      await withPage(env, async (page) => {
        // One painted value of 1000 in an empty matrix: scale 2^2, code 250 rounded to 256.
        await page.goto(`${env.url}?view=playground&matrix=zero&paint=0HaD1rI`);
        const map = page.getByTestId("map-values");
        await map.waitFor();
        await map.hover({ position: { x: 2, y: 2 } });
        assert.match(await figure(page, "value"), /^1000$/);
        assert.match(await figure(page, "code"), /^0x78 = 256$/);
        assert.match(await figure(page, "scale"), /^2² \(129\)$/);
        assert.match(await figure(page, "product"), /^256 × 2² = 1024$/);
        assert.match(await figure(page, "error"), /^24 \(2\.40%\) · rounded$/);
        // Its neighbour of 1 in the same block: 0.25 is a code.
        await map.focus();
        for (let i = 0; i < 10; i++) await page.keyboard.press("ArrowRight");
        assert.match(await figure(page, "error"), /exact$/);
        assert.match(await figure(page, "saturated"), /^0 /);
        // Six bits, four to three bytes: E2M3 has 7.5 as its largest value.
        await page.locator("#play-format").selectOption("e2m3");
        await page
          .getByTestId("readout")
          .getByText(/^0x[0-3][0-9A-F] = /)
          .waitFor();
        // An E2M1 code is 6 at most: 1 beside 1000 becomes zero, and float32 scales are exact for the largest.
        await page.locator("#play-format").selectOption("e2m1");
        assert.match(await figure(page, "error"), /flushed to zero$/);
        await addressHolds(page, "format=e2m1");
      });
    },
  },
  {
    name: "playground: painted by keyboard, kept in the address, undone by Back",
    async body(env) {
      await withPage(env, async (page) => {
        await page.getByRole("link", { name: "Playground" }).click();
        const map = page.getByTestId("map-values");
        await map.focus();
        await page.keyboard.press("ArrowDown");
        await page.keyboard.press(" ");
        assert.equal(await figure(page, "value"), "1000");
        await addressHolds(page, "paint=");
        const sqnr = await figure(page, "sqnr");
        await page.reload();
        await map.waitFor();
        assert.equal(await figure(page, "sqnr"), sqnr);
        await page.getByRole("button", { name: /^Show me: Saturation/ }).click();
        assert.doesNotMatch(await figure(page, "saturated"), /^0 /);
        await page.getByRole("button", { name: /^Show me: Flushing/ }).click();
        assert.doesNotMatch(await figure(page, "flushed"), /^0 /);
        await page.goBack();
        await page.getByRole("heading", { name: "Make an FP8 copy" }).waitFor();
      });
    },
  },
  {
    name: "threads: isolated where the server says so",
    async body(env) {
      await withPage(env, async (page) => {
        assert.equal(await page.evaluate(() => crossOriginIsolated), true);
      });
    },
  },
];
