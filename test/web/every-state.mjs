// Every state of the page, to axe in light and dark, at the width of a phone, and in Chinese.
import assert from "node:assert/strict";
import { withPage } from "./browser.mjs";
import { audit, englishIn } from "./page.mjs";
import { chooseLanguage, inputsIn, press, STATES, settled } from "./states.mjs";

/** Presses the button of the appearance until it is this one. */
async function chooseTheme(page, theme) {
  for (let i = 0; i < 3; i++) {
    if ((await page.evaluate(() => localStorage.getItem("theme"))) === theme) return;
    await press(page, ".settings .square");
  }
  throw new Error(`no press of the button chose ${theme}`);
}

/** Whether the page is wider than its window. */
const tooWide = (page) =>
  page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    return scrollWidth > clientWidth ? [`the page is ${scrollWidth} px wide in ${clientWidth}`] : [];
  });

/** The words of the page that are its own. */
const ownWords = (page) =>
  page.evaluate(() => {
    const shown = [...document.querySelectorAll("main, .side, dialog[open]")].map((part) => {
      const copy = part.cloneNode(true);
      // What was typed, what a model wrote, and what the browser says of an error.
      for (const one of copy.querySelectorAll("textarea, code, pre, .passage, .turns p, .context, .message"))
        one.remove();
      return copy.textContent;
    });
    return shown.join("\n");
  });

/** What axe has to say of colours: all else is the same in the dark. */
const OF_COLOURS = ["color-contrast", "link-in-text-block"];

export const tests = Object.entries(STATES).map(([name, reach]) => ({
  name: `every state: ${name}, to axe in light and dark, at 390 px, and in Chinese`,
  seconds: 90,
  async body(env) {
    const at = inputsIn(env.folder);
    await withPage(env, async (page) => {
      await reach(page, { url: env.url, at });
      const found = [];
      const look = (what, some) => {
        for (const one of some) found.push(`${what}: ${one}`);
      };
      for (const [theme, rules] of [["light"], ["dark", OF_COLOURS]]) {
        await chooseTheme(page, theme);
        await settled(page);
        look(theme, await audit(page, rules));
      }
      await page.setViewportSize({ width: 390, height: 844 });
      await settled(page);
      look("390 px", await tooWide(page));
      await chooseLanguage(page, "zh-Hans");
      await settled(page);
      look("390 px in Chinese", await tooWide(page));
      look("in Chinese", englishIn(await ownWords(page)));
      await chooseLanguage(page, "en");
      await page.setViewportSize({ width: 1280, height: 860 });
      assert.deepEqual(found, []);
      // Of servers that do not answer the browser itself complains.
      page.errors = page.errors.filter(
        (error) => !/Failed to load resource|Cross-Origin Request/.test(error),
      );
    });
  },
}));
