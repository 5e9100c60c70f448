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

/** Reaches a state, and expects that `examine(page, look)` finds nothing; `look(where, findings)` notes some. */
async function expectNothing(env, reach, examine) {
  await withPage(env, async (page) => {
    await reach(page, { url: env.url, at: inputsIn(env.folder) });
    const found = [];
    await examine(page, (where, some) => {
      for (const one of some) found.push(`${where}: ${one}`);
    });
    assert.deepEqual(found, []);
    // Of servers that do not answer the browser itself complains.
    page.errors = page.errors.filter((error) => !/Failed to load resource|Cross-Origin Request/.test(error));
  });
}

const inTheme = (theme) => async (page, look) => {
  await chooseTheme(page, theme);
  await settled(page);
  look(theme, await audit(page));
};

async function onPhone(page, look) {
  await page.setViewportSize({ width: 390, height: 844 });
  await settled(page);
  look("390 px", await tooWide(page));
}

async function inChinese(page, look) {
  await chooseLanguage(page, "zh-Hans");
  await settled(page);
  look("390 px in Chinese", await tooWide(page));
  look("in Chinese", englishIn(await ownWords(page)));
}

/** Leaves the page as the next test expects it. */
async function asBefore(page) {
  await chooseLanguage(page, "en");
  await page.setViewportSize({ width: 1280, height: 860 });
}

/**
 * States that Firefox, which takes twice as long, looks at as closely as Chromium. Of the others it is asked what an
 * engine decides: whether they are too wide. What axe reads, names, roles and colours, is the same in both.
 */
const CLOSELY_IN_FIREFOX = new Set(["start", "opening", "open", "plan", "mixed", "tree", "panel", "done"]);
const CLOSELY = [inTheme("light"), inTheme("dark"), onPhone, inChinese, asBefore];
const BRIEFLY = [onPhone, asBefore];

const stateTest = (name, looks, browsers, examinations) => ({
  name: `every state: ${name}, ${looks}`,
  browsers,
  seconds: 90,
  body: (env) =>
    expectNothing(env, STATES[name], async (page, look) => {
      for (const examine of examinations) await examine(page, look);
    }),
});

export const tests = Object.keys(STATES).flatMap((name) => {
  const closely = "to axe in light and dark, at 390 px, and in Chinese";
  if (CLOSELY_IN_FIREFOX.has(name)) return [stateTest(name, closely, ["chromium", "firefox"], CLOSELY)];
  return [
    stateTest(name, closely, ["chromium"], CLOSELY),
    stateTest(name, "at 390 px", ["firefox"], BRIEFLY),
  ];
});
