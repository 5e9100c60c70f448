// Browsers, the page in them, and what tests do with it.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, firefox } from "playwright-core";

const pathOf = (name) => execFileSync("which", [name], { encoding: "utf8" }).trim();

/** Starts a browser with a profile of its own on disk: what private windows store is in memory, and too little. */
export async function launch(name, options = {}) {
  const profile = mkdtempSync(join(tmpdir(), `blockscale-${name}-`));
  const common = { viewport: { width: 1280, height: 860 }, acceptDownloads: true, ...options };
  const context =
    name === "chromium"
      ? await chromium.launchPersistentContext(profile, {
          executablePath: pathOf("chromium"),
          args: ["--no-sandbox"],
          ...common,
        })
      : await firefox.launchPersistentContext(profile, {
          channel: "moz-firefox",
          executablePath: pathOf("firefox-esr"),
          ...common,
        });
  return {
    context,
    profile,
    async close() {
      await context.close();
      rmSync(profile, { recursive: true, force: true });
    },
  };
}

/** Opens the page. Pickers of the system cannot be driven: unless asked to be kept, they are taken away. */
export async function openPage(context, url, { pickers = false } = {}) {
  const page = await context.newPage();
  page.errors = [];
  page.on("pageerror", (error) => page.errors.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") page.errors.push(message.text());
  });
  if (!pickers) {
    await page.addInitScript(() => {
      delete window.showSaveFilePicker;
      delete window.showDirectoryPicker;
    });
  }
  await page.goto(url);
  return page;
}

export async function openFiles(page, ...paths) {
  await page.getByTestId("files").setInputFiles(paths);
  await page.getByTestId("rows").waitFor();
}

export async function openFolder(page, path) {
  await page.getByTestId("folder").setInputFiles(path);
  await page.getByTestId("rows").waitFor();
}

/** Waits until the plan is known: the exact size is shown. */
export async function planned(page) {
  const size = page.getByTestId("outcome").locator("[data-bytes]");
  await size.waitFor();
  return Number(await size.getAttribute("data-bytes"));
}

/** Starts the conversion; resolves when the page says that it is done. */
export async function convert(page, timeout = 120_000) {
  await page.getByRole("button", { name: /^(Convert|Choose where to save)/ }).click();
  await page.getByTestId("done").waitFor({ timeout });
}

/** Names, sizes and checksums as the page gives them. */
export function written(page) {
  return page
    .getByTestId("done")
    .locator("li[data-name]")
    .evaluateAll((items) => items.map(({ dataset }) => ({ ...dataset, size: Number(dataset.size) })));
}

/** SHA-256 of each output in the origin private file system, by name: what is really there. */
export function privateFiles(page) {
  return page.evaluate(async () => {
    const found = {};
    const walk = async (folder, path) => {
      for await (const [name, handle] of folder) {
        if (handle.kind === "directory") await walk(handle, path === null ? "" : `${path}${name}/`);
        else {
          const file = await handle.getFile();
          const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
          found[(path ?? "") + name] = {
            size: file.size,
            sha256: [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
          };
        }
      }
    };
    await walk(await navigator.storage.getDirectory(), null);
    delete found.done;
    return found;
  });
}
