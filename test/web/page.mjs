// The page itself: accessible, narrow, in Chinese, offline, small, and silent towards the rest of the world.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { serve } from "../../.config/serve.mjs";
import { convert, openFiles, planned, withPage } from "./browser.mjs";
import { writeSmall } from "./checkpoints.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

function input(env) {
  const path = join(env.folder, "page.safetensors");
  if (!existsSync(path)) writeSmall(path);
  return path;
}

/** The way through the page, to the end of a conversion. */
async function walk(page, env) {
  await openFiles(page, input(env));
  await planned(page);
  await page.locator(".patterns summary").click();
  await page.locator(".cell.name .link").nth(2).click();
  await page.getByTestId("comparison").waitFor();
  await page.keyboard.press("Escape");
  await page.evaluate(() => document.querySelector(".outcome button").click());
  await page.getByTestId("done").waitFor();
}

/** What axe finds. Injected through the debugger: the page's policy allows no other way. */
export async function audit(page) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(AXE);
  // Its whole answer, of thousands of elements, would take longer on the way here than axe itself.
  return page.evaluate(async () => {
    const { violations } = await window.axe.run({ resultTypes: ["violations"] });
    return violations.map(
      ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(" | ")}`,
    );
  });
}

/** English sentences in a text: names of formats, tensors and units are none. */
export const englishIn = (text) => text.match(/\b(?:[A-Z][a-z]+|[a-z]{3,}) (?:[a-z]{2,}) [a-z]{2,}/g) ?? [];

export const tests = [
  {
    name: "in Chinese, by one button, and again on the next visit",
    async body(env) {
      await withPage(env, async (page) => {
        await page.getByRole("button", { name: "中文" }).click();
        await page.getByRole("heading", { name: "在这里，生成模型的 FP8 副本" }).waitFor();
        await page.reload();
        await page.locator("html[lang=zh-Hans]").waitFor();
        const text = await page.locator("main").evaluate((main) => main.innerText);
        assert.deepEqual(englishIn(text), []);
        await page.getByRole("button", { name: "English" }).click();
      });
    },
  },
  {
    name: "by keyboard alone: skip link, choice, conversion",
    async body(env) {
      await withPage(env, async (page) => {
        await page.keyboard.press("Tab");
        assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
        await page.keyboard.press("Enter");
        await page.keyboard.press("Tab");
        assert.equal(await page.evaluate(() => document.activeElement.textContent), "Choose files");
        await openFiles(page, input(env));
        await planned(page);
        for (let i = 0; i < 20; i++) {
          await page.keyboard.press("Tab");
          if ((await page.evaluate(() => document.activeElement.textContent)) === "Convert") break;
        }
        await page.keyboard.press("Enter");
        await page.getByTestId("done").waitFor();
      });
    },
  },
  {
    name: "the policy: no inline script runs, and nothing is asked of other hosts",
    async body(env) {
      await withPage(env, async (page) => {
        const hosts = new Set();
        page.on("request", (request) => hosts.add(new URL(request.url()).host));
        await page.reload();
        await walk(page, env);
        assert.deepEqual(
          [...hosts].filter((host) => host !== "" && host !== new URL(env.url).host),
          [],
        );
        await page.evaluate(() => {
          const script = document.createElement("script");
          script.textContent = "window.hasRunInline = true";
          document.body.append(script);
        });
        assert.equal(await page.evaluate(() => window.hasRunInline), undefined);
        page.errors.length = 0; // the browser's report of that script
        for (const file of ["", "coordinator.js", "strip-worker.js"]) {
          const { headers } = await fetch(env.url + file);
          assert.match(headers.get("content-security-policy"), /script-src 'self' 'wasm-unsafe-eval'/);
        }
        const html = readFileSync(join(env.root, "dist-web/index.html"), "utf8");
        assert.doesNotMatch(html, /unsafe-inline|'unsafe-eval'|<script>|style=/);
      });
    },
  },
  {
    name: "offline: opened and converting without a server, from the second visit on",
    async body(env) {
      const server = await serve(0);
      const url = `http://localhost:${server.address().port}/`;
      let isOpen = true;
      const stop = () => {
        if (isOpen) server.close();
        server.closeAllConnections();
        isOpen = false;
      };
      try {
        await withPage({ ...env, url }, async (page) => {
          await page.evaluate(async () => {
            const { installing, waiting } = await navigator.serviceWorker.register("service-worker.js");
            const worker = installing ?? waiting;
            if (worker === null) return;
            await new Promise((resolve) => {
              const look = () => worker.state === "activated" && resolve();
              worker.addEventListener("statechange", look);
              look();
            });
          });
          stop();
          await page.reload();
          await openFiles(page, input(env));
          await planned(page);
          await convert(page);
          page.errors.length = 0; // looking for a newer version fails, as it should
        });
      } finally {
        stop();
      }
    },
  },
  {
    name: "installable",
    browsers: ["chromium"],
    async body(env) {
      await withPage(env, async (page, context) => {
        const session = await context.newCDPSession(page);
        const { installabilityErrors } = await session.send("Page.getInstallabilityErrors");
        assert.deepEqual(
          installabilityErrors.map(({ errorId }) => errorId),
          [],
        );
      });
    },
  },
  {
    name: "everything to load at first is under 160 kB gzip",
    browsers: ["chromium"],
    async body(env) {
      await withPage(env, async (page) => {
        const files = new Set();
        page.on("request", (request) => files.add(new URL(request.url()).pathname.slice(1) || "index.html"));
        await page.reload();
        await openFiles(page, input(env));
        await planned(page);
        for (const name of ["coordinator.js", "strip-worker.js", "service-worker.js"]) files.add(name);
        const sizes = [...files].map(
          (name) => gzipSync(readFileSync(join(env.root, "dist-web", name))).length,
        );
        const total = sizes.reduce((n, size) => n + size, 0);
        console.log(`        ${files.size} files, ${(total / 1000).toFixed(1)} kB gzip`);
        assert.ok(files.size >= 7 && total < 160_000, `${total} bytes`);
      });
    },
  },
];
