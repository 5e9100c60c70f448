// Where the reader's attention is led: the focus, what is said aloud, hints for hands and keyboards, nothing that jumps.
import assert from "node:assert/strict";
import { join } from "node:path";
import { openFiles, planned, startAnd, startAndPause, withPage } from "./browser.mjs";
import { writeFile, writeLarge, writeSmall, writeTensors } from "./checkpoints.mjs";

function small(env) {
  const path = join(env.folder, `attention-${env.browser}.safetensors`);
  writeSmall(path);
  return path;
}

/** Waits until an element has the focus. */
const focused = (page, selector) =>
  page.waitForFunction((wanted) => document.activeElement.matches(wanted), selector);

export const tests = [
  {
    name: "attention: the focus goes to what appeared after open, convert, cancel and done, and Done is said",
    seconds: 120,
    async body(env) {
      const input = join(env.folder, `attention-large-${env.browser}.safetensors`);
      writeLarge(input, 6.7e7);
      await withPage(env, async (page) => {
        const said = page.locator("#app > [role=status]");
        await openFiles(page, input);
        await focused(page, "h1");
        await planned(page);
        await page.locator(".outcome > button").focus();
        await startAnd(page, "Cancel");
        await page.getByText("Nothing unfinished was kept.").waitFor();
        await focused(page, "#convert-heading");
        await page.locator(".outcome > button").focus();
        await startAndPause(page);
        await focused(page, "#run-heading");
        assert.equal(await said.textContent(), "Converting");
        await page.getByRole("button", { name: "Resume" }).click();
        await page.getByTestId("done").waitFor();
        await focused(page, "[data-testid=change]");
        assert.equal(await said.textContent(), "Done");
        // What the user is busy with keeps the focus.
        await page.getByRole("button", { name: "中文" }).focus();
        await page.keyboard.press("Enter");
        await page.locator("html[lang=zh-Hans]").waitFor();
        assert.equal(await page.evaluate(() => document.activeElement.textContent), "English");
        await page.keyboard.press("Enter");
        await page.locator("html[lang=en]").waitFor();
      });
    },
  },
  {
    name: "attention: the table stays in its place when a run starts, and when its figures come",
    async body(env) {
      await withPage(env, async (page) => {
        await openFiles(page, small(env));
        await planned(page);
        await page.getByText(/^about /).waitFor();
        const places = await page.evaluate(async () => {
          const place = () => {
            const { x, y, width, height } = document
              .querySelector("[data-testid=rows]")
              .getBoundingClientRect();
            return [x, y, width, height].map(Math.round).join();
          };
          const seen = new Set([place()]);
          document.querySelector(".outcome > button").click();
          for (const end = performance.now() + 30_000; performance.now() < end; ) {
            await new Promise(requestAnimationFrame);
            seen.add(place());
            if (
              document.querySelector(".sqnr-section canvas") &&
              document.querySelector("[data-testid=done]")
            )
              break;
          }
          return [...seen];
        });
        await page.getByTestId("done").waitFor();
        assert.equal(await page.locator(".sqnr-section canvas").count(), 1);
        assert.equal(places.length, 1, places.join(" | "));
      });
    },
  },
  {
    name: "attention: hints for fingers where there are fingers, for keys where there are keys",
    browsers: ["chromium"],
    async body(env) {
      for (const isMobile of [false, true]) {
        const body = async (page) => {
          await openFiles(page, small(env));
          const keys = page.locator(".keys");
          assert.equal(await keys.isVisible(), !isMobile);
          await page.locator(".cell.name .link").nth(2).click();
          await page.getByTestId("heat").waitFor();
          assert.equal(await page.locator(".with-keys").isVisible(), !isMobile);
          assert.equal(await page.locator(".by-touch").isVisible(), isMobile);
        };
        await withPage(env, body, isMobile ? { isMobile, hasTouch: true } : {});
      }
    },
  },
  {
    name: "attention: formats within 0.2 dB are equal, and what loses nothing is exact, apart from the axis",
    async body(env) {
      const [ones, some] = ["ones", "some"].map((name) =>
        join(env.folder, `formats-${name}-${env.browser}.safetensors`),
      );
      const bytes = Buffer.from(new Uint16Array(128 * 128).fill(0x3f80).buffer);
      writeTensors(ones, [{ name: "ones.weight", dtype: "BF16", shape: [128, 128], bytes }]);
      writeFile(some, [["some.weight", [256, 256]]]);
      await withPage(env, async (page) => {
        await openFiles(page, ones, some);
        const rows = page.getByTestId("comparison").locator("tbody tr");
        const show = async (name) => {
          await page.getByRole("row", { name }).locator(".cell.shape").click();
          await page.getByRole("heading", { name, exact: true }).waitFor();
          await rows.first().waitFor();
          return rows.evaluateAll((all) =>
            all.map((row) => ({
              word: row.querySelector("em").textContent,
              db: Number.parseFloat(
                /([\d.]+) dB/.exec(row.querySelector(".bar-cell").textContent)?.[1] ?? "Infinity",
              ),
              hasDot: row.querySelector(".db-axis i") !== null,
            })),
          );
        };
        const exact = (await show("ones.weight")).filter(({ word }) => word === "exact");
        assert.ok(exact.length >= 2);
        for (const { db, hasDot } of exact) assert.deepEqual([db, hasDot], [Infinity, false]);
        await page.keyboard.press("Escape");
        const finite = await show("some.weight");
        const best = Math.max(...finite.map(({ db }) => db));
        for (const { word, db, hasDot } of finite) {
          assert.ok(hasDot, `${word}: ${db} dB`);
          // Figures are shown to a tenth.
          if (best - db < 0.1) assert.match(word, /loses least$|equal to the best$/);
          if (best - db > 0.3) assert.match(word, /^(excellent|good|fair|coarse)$/);
        }
        const words = finite.map(({ word }) => word).join("; ");
        for (const wanted of [/loses least/, /equal to the best/, /(^|; )(excellent|good|fair|coarse)(;|$)/])
          assert.match(words, wanted);
      });
    },
  },
];
