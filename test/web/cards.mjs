// Results as pictures, and the picture of one on the start page.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { convert, downloadedBy, withPage } from "./browser.mjs";

/**
 * Presses the button of the card; gives its name, its size, and how many colours are in some strips of it.
 */
async function cardOf(page) {
  const press = () => page.getByRole("button", { name: "Picture (PNG)" }).click();
  const { name } = await downloadedBy(page, press);
  const drawn = await page.evaluate(async () => {
    const { blob } = await window.downloaded;
    const picture = await createImageBitmap(blob);
    const { width, height } = picture;
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.drawImage(picture, 0, 0);
    // Rows of the title, of the figures, and of what is below them: a blank strip has one colour.
    const strips = [
      [130, 190],
      [260, 330],
      [390, 560],
    ].map(([top, bottom]) => {
      const { data } = context.getImageData(0, top, width, bottom - top);
      return new Set(new Uint32Array(data.buffer)).size;
    });
    return { type: blob.type, size: [width, height], strips };
  });
  return { name, ...drawn };
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
        // On a phone the smallest letters, of 20 pixels, are shown at more than half of it.
        await page.setViewportSize({ width: 390, height: 844 });
        await page.waitForFunction(() => {
          const canvas = document.querySelector("[data-testid=what-you-get]");
          return canvas.width < 2 * canvas.clientWidth && canvas.height > canvas.width;
        });
        await page.setViewportSize({ width: 1280, height: 860 });
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
