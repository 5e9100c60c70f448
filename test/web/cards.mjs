// Results as pictures, and the picture of one on the start page.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { convert, withPage } from "./browser.mjs";

/** Presses the button of the card; gives its name, its size, and how many colours of the page are in it. */
async function cardOf(page) {
  await page.evaluate(() => {
    const made = URL.createObjectURL;
    URL.createObjectURL = (blob) => {
      window.made = blob;
      return made.call(URL, blob);
    };
  });
  await page.getByRole("button", { name: "Picture (PNG)" }).click();
  await page.waitForFunction(() => window.made !== undefined);
  return page.evaluate(async () => {
    const picture = await createImageBitmap(window.made);
    const canvas = new OffscreenCanvas(picture.width, picture.height);
    const context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0);
    const { data } = context.getImageData(0, 0, picture.width, picture.height);
    const strip = (top, bottom) => {
      const seen = new Set();
      for (let i = top * picture.width * 4; i < bottom * picture.width * 4; i += 4)
        seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
      return seen.size;
    };
    const { name, type } = window.made;
    // Rows of the title, of the figures, and of what is below them: a blank strip has one colour.
    return {
      name,
      type,
      size: [picture.width, picture.height],
      strips: [strip(130, 190), strip(260, 330), strip(390, 560)],
    };
  });
}

function isDrawn({ type, size, strips }) {
  assert.equal(type, "image/png");
  assert.deepEqual(size, [1200, 630]);
  for (const colours of strips) assert.ok(colours > 10, strips.join());
}

export const tests = [
  {
    name: "cards: of a conversion, and on the start page what the command line found for the example",
    async body(env) {
      await withPage(env, async (page) => {
        const picture = page.getByTestId("what-you-get");
        await picture.waitFor();
        const { total } = JSON.parse(
          readFileSync(join(env.root, "dist-web/examples/stories-fp8/report.json"), "utf8"),
        );
        assert.ok(
          (await picture.getAttribute("aria-label")).includes(`${total.precision.sqnrDb.toFixed(1)} dB`),
        );
        await page.getByRole("button", { name: /^A language model/ }).click();
        await page.getByText(/^about /).waitFor();
        await convert(page);
        const card = await cardOf(page);
        assert.equal(card.name, "stories-blockscale.png");
        isDrawn(card);
      });
    },
  },
  {
    name: "cards: of two texts, of a measurement, of a matrix",
    async body(env) {
      await withPage(env, async (page) => {
        await page.goto(`${env.url}?view=run&example=stories`);
        await page.getByText("of weights became").waitFor();
        await page.getByRole("button", { name: "Go on" }).click();
        await page.getByTestId("positions").waitFor();
        isDrawn(await cardOf(page));
        await page.getByRole("radio", { name: "Measure on a text" }).check();
        await page.getByRole("button", { name: "Measure", exact: true }).click();
        await page.getByTestId("measured").waitFor();
        isDrawn(await cardOf(page));
        await page.goto(`${env.url}?view=playground`);
        await page.getByTestId("figures").waitFor();
        isDrawn(await cardOf(page));
      });
    },
  },
];
