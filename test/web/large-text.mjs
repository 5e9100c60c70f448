// Text at 200 %: the browser's letters are twice as large, and nothing is cut off, covered, or beside the page.
import assert from "node:assert/strict";
import { join } from "node:path";
import { convert, openFolder, planned, withPage } from "./browser.mjs";
import { writeFolder } from "./checkpoints.mjs";
import { settled } from "./states.mjs";

/** Letters of 32 pixels instead of 16, as a user sets them. */
const LETTERS = {
  chromium: { preferences: { webkit: { webprefs: { default_font_size: 32 } } } },
  firefox: { firefoxUserPrefs: { "font.size.variable.x-western": 32, "font.size.variable.zh-CN": 32 } },
};

/** What is wrong with the text that is shown: beside the page, cut off, or covered by other text. */
function faults(page) {
  return page.evaluate(() => {
    const found = [];
    const say = (element) =>
      `<${element.tagName.toLowerCase()} class="${element.className}"> ${element.textContent.trim().slice(0, 40)}`;
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth > clientWidth + 1) found.push(`the page is ${scrollWidth} px wide in ${clientWidth}`);
    const texts = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode;
      const element = node.parentElement;
      if (node.data.trim() === "" || element.closest(".hidden, .skip, option, svg, [inert]")) continue;
      if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      for (const rect of range.getClientRects()) {
        let box = { left: rect.left, right: rect.right, top: rect.top, bottom: rect.bottom };
        let isAtEnd = false;
        for (let up = element; up !== document.body; up = up.parentElement) {
          const style = getComputedStyle(up);
          if (style.overflowX === "visible" && style.overflowY === "visible") continue;
          const around = up.getBoundingClientRect();
          const scrolls = /auto|scroll/.test(style.overflowX + style.overflowY);
          if (style.textOverflow === "ellipsis") isAtEnd = true;
          const cut = Math.max(around.top - box.top, box.bottom - around.bottom);
          const side = Math.max(around.left - box.left, box.right - around.right);
          // A line of text is higher than its letters: a quarter of it may be out.
          if (!scrolls && cut > rect.height / 4)
            found.push(`cut off by ${cut.toFixed(0)} px: ${say(element)}`);
          if (!scrolls && !isAtEnd && side > 2)
            found.push(`cut off beside by ${side.toFixed(0)} px: ${say(element)}`);
          box = {
            left: Math.max(box.left, around.left),
            right: Math.min(box.right, around.right),
            top: Math.max(box.top, around.top),
            bottom: Math.min(box.bottom, around.bottom),
          };
        }
        // What stays in sight lies over what scrolls below it.
        const layer = element.closest(".side, .grid-head, .side > header, dialog, .page-header");
        if (box.right > box.left && box.bottom > box.top) texts.push({ element, layer, box });
      }
    }
    for (const [i, a] of texts.entries()) {
      for (const b of texts.slice(i + 1)) {
        if (a.element === b.element || a.layer !== b.layer) continue;
        const wide = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
        const high = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
        const least = Math.min(a.box.bottom - a.box.top, b.box.bottom - b.box.top);
        if (wide > 3 && high > least / 3) found.push(`${say(a.element)} covers ${say(b.element)}`);
      }
    }
    return found;
  });
}

export const tests = [
  {
    name: "text at 200 %: nothing is cut off, covered, or beside the page, wide and narrow",
    seconds: 120,
    async body(env) {
      const input = join(env.folder, `letters-${env.browser}`);
      writeFolder(input, 128);
      await withPage(
        env,
        async (page) => {
          const letter = await page.evaluate(() =>
            Number.parseFloat(getComputedStyle(document.documentElement).fontSize),
          );
          assert.equal(letter, 30);
          const all = [];
          const look = async (state) => {
            for (const width of [1280, 800]) {
              await page.setViewportSize({ width, height: 860 });
              await settled(page);
              for (const fault of await faults(page)) all.push(`${state}, ${width}: ${fault}`);
            }
          };
          await look("start");
          await openFolder(page, input);
          await planned(page);
          await page.locator(".patterns summary").click();
          await look("open");
          await page.getByLabel("By layer").check();
          await page.locator(".group").first().click();
          await look("tree");
          await page.getByLabel("By layer").uncheck();
          await page.getByRole("row", { name: "q_proj" }).first().locator(".cell.name button").click();
          await page.getByTestId("comparison").waitFor();
          await page.getByTestId("heat").click();
          await page.getByTestId("block").waitFor();
          await look("panel");
          await page.keyboard.press("Escape");
          await convert(page);
          await look("done");
          for (const view of ["playground", "train", "run", "compare"]) {
            await page.goto(`${env.url}?view=${view}`);
            await page.locator("main h1").waitFor();
            await look(view);
          }
          assert.deepEqual([...new Set(all)], []);
        },
        LETTERS[env.browser],
      );
    },
  },
];
