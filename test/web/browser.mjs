// Browsers, the page in them, and what tests do with it.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, firefox } from "playwright-core";

const pathOf = (name) => execFileSync("which", [name], { encoding: "utf8" }).trim();

/**
 * Starts a browser with a profile of its own on disk: what private
 * windows store is in memory, and too little.
 */
export async function launch(name, { preferences, ...options } = {}) {
  const profile = mkdtempSync(join(tmpdir(), `blockscale-${name}-`));
  if (preferences !== undefined) {
    mkdirSync(join(profile, "Default"));
    writeFileSync(join(profile, "Default/Preferences"), JSON.stringify(preferences));
  }
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

/**
 * What Firefox says, in the console or as an error without a place, of a request that a reload or another address
 * cut off; of a service worker that fails it says more.
 */
const CUT_OFF = /A ServiceWorker intercepted the request and encountered an unexpected error/;

/** Opens the page. Pickers of the system cannot be driven: unless asked to be kept, they are taken away. */
export async function openPage(context, url, { pickers = false, tab } = {}) {
  const page = tab ?? (await context.newPage());
  page.errors = [];
  const complain = (text) => {
    if (!CUT_OFF.test(text)) page.errors.push(text);
  };
  page.on("pageerror", (error) => complain(String(error)));
  page.on("console", (message) => {
    const { url: place } = message.location();
    // Chromium asks for it by itself, for the picture that clean() opens, and tells of it at some time later.
    if (message.type() === "error" && !place.endsWith("/favicon.ico")) complain(`${message.text()} ${place}`);
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

/** Opens a folder; in Firefox, which playwright cannot hand a folder, all of its files. */
export async function openFolder(page, path) {
  const isFirefox = page.context().browser()?.browserType().name() !== "chromium";
  if (isFirefox)
    await page.getByTestId("files").setInputFiles(readdirSync(path).map((name) => join(path, name)));
  else await page.getByTestId("folder").setInputFiles(path);
  await page.getByTestId("rows").waitFor();
}

/** Opens files and waits until everything about them is known, down to the measured time. */
export async function openReady(page, ...paths) {
  await openFiles(page, ...paths);
  const size = await planned(page);
  await page.getByText(/^about /).waitFor();
  return size;
}

/** Waits until the plan is known: the exact size is shown. */
export async function planned(page) {
  const size = page.locator("[data-testid=outcome][aria-busy=false] [data-bytes]");
  await size.waitFor();
  return Number(await size.getAttribute("data-bytes"));
}

/** Chooses a dialect by the first destination that reads it. */
export async function chooseFormat(page, dialect, id = "dialect") {
  const valuesOf = (list) => list.locator("option").evaluateAll((all) => all.map(({ value }) => value));
  const [destinations, list] = [page.locator(`#${id}-for`), page.locator(`#${id}`)];
  for (const name of await valuesOf(destinations)) {
    await destinations.selectOption(name);
    // The list is drawn anew a moment later.
    await page.evaluate(() => new Promise(requestAnimationFrame));
    if ((await valuesOf(list)).includes(dialect)) return list.selectOption(dialect);
  }
  throw new Error(`no destination reads ${dialect}`);
}

/** Starts the conversion; resolves when the page says that it is done. */
export async function convert(page, timeout = 120_000) {
  await page.getByRole("button", { name: /^(Convert|Choose where to save|开始转换|选择保存位置)/ }).click();
  await page.getByTestId("done").waitFor({ timeout });
}

/**
 * Starts the conversion and presses a button of it in the same moment: from
 * outside, a fast run might be over by then.
 */
export async function startAnd(page, label) {
  await page.evaluate((wanted) => {
    new MutationObserver((_, observer) => {
      const buttons = [...document.querySelectorAll("[data-testid=running] button")];
      const button = buttons.find(({ textContent }) => textContent === wanted);
      if (button === undefined) return;
      observer.disconnect();
      button.click();
    }).observe(document.body, { childList: true, subtree: true });
    document.querySelector(".outcome > button").click();
  }, label);
}

export async function startAndPause(page) {
  await startAnd(page, "Pause");
  await page.getByRole("heading", { name: "Paused" }).waitFor();
}

/** Names, sizes and checksums as the page gives them. */
export function written(page) {
  return page
    .getByTestId("done")
    .locator("li[data-name]")
    .evaluateAll((items) => items.map(({ dataset }) => ({ ...dataset, size: Number(dataset.size) })));
}

/**
 * What the page hands to the downloads when a button is pressed: its name and its bytes. Seen from inside,
 * since Firefox, driven from outside, tells of no download.
 */
export async function downloadedBy(page, press) {
  await page.evaluate(() => {
    const { createObjectURL } = URL;
    const { click } = HTMLAnchorElement.prototype;
    window.downloaded = new Promise((resolve) => {
      let blob;
      URL.createObjectURL = (made) => {
        blob = made;
        return createObjectURL.call(URL, made);
      };
      HTMLAnchorElement.prototype.click = function () {
        URL.createObjectURL = createObjectURL;
        HTMLAnchorElement.prototype.click = click;
        resolve({ name: this.download, blob });
        click.call(this);
      };
    });
  });
  await press();
  const { name, base64 } = await page.evaluate(async () => {
    const { name, blob } = await window.downloaded;
    const reader = new FileReader();
    const text = new Promise((resolve) => {
      reader.onload = () => resolve(reader.result);
    });
    reader.readAsDataURL(blob);
    return { name, base64: (await text).split(",")[1] };
  });
  return { name, bytes: Buffer.from(base64, "base64") };
}

/** How many files are in the origin private file system, also while they are being written. */
export function countFiles(page) {
  return page.evaluate(async () => {
    const count = async (folder) => {
      let files = 0;
      for await (const handle of folder.values()) files += handle.kind === "file" ? 1 : await count(handle);
      return files;
    };
    return count(await navigator.storage.getDirectory());
  });
}

/** SHA-256 of each output in the origin private file system, by name, of two of one name the later: what is really there. */
export function privateFiles(page) {
  return page.evaluate(async () => {
    const found = {};
    const walk = async (folder, path) => {
      for await (const [name, handle] of folder) {
        if (handle.kind === "directory") await walk(handle, path === null ? "" : `${path}${name}/`);
        else {
          const file = await handle.getFile();
          const known = found[(path ?? "") + name];
          if (known !== undefined && known.time > file.lastModified) continue;
          const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
          found[(path ?? "") + name] = {
            time: file.lastModified,
            size: file.size,
            sha256: [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
          };
        }
      }
    };
    await walk(await navigator.storage.getDirectory(), null);
    // What the page notes down for itself is hidden.
    return Object.fromEntries(Object.entries(found).filter(([name]) => !name.startsWith(".")));
  });
}

/** Browsers that tests share: starting one takes longer than most tests. */
const shared = new Map();

async function browserFor(name, options = {}) {
  if (Object.keys(options).length > 0) return { ...(await launch(name, options)), isShared: false };
  if (!shared.has(name)) {
    const instance = await launch(name);
    // One that died is started again for the next test.
    instance.context.once("close", () => shared.delete(name));
    shared.set(name, instance);
  }
  return { ...shared.get(name), isShared: true };
}

/** Starts a browser that tests share, so that the first of them does not wait for it. */
export const startBrowser = (name) => browserFor(name);

export async function closeBrowsers() {
  for (const instance of [...shared.values()]) await instance.close();
}

/** Leaves nothing of a test to the next one. @returns a new tab */
async function clean(context, url) {
  const page = await context.newPage();
  for (const other of context.pages()) if (other !== page) await other.close();
  await page.goto(`${url}icon.svg`);
  await page.evaluate(async () => {
    localStorage.clear();
    const root = await navigator.storage.getDirectory();
    // Workers of a page that was closed a moment ago may still hold their files.
    for (let isEmpty = false; !isEmpty; ) {
      isEmpty = true;
      for await (const name of root.keys()) {
        await root.removeEntry(name, { recursive: true }).catch(() => {
          isEmpty = false;
        });
      }
      if (!isEmpty) await new Promise((resolve) => setTimeout(resolve, 100));
    }
  });
  return page;
}

/** Runs a test in a page, and sees to it that the page had nothing to complain about. */
export async function withPage({ browser, url }, body, { pickers = false, ...options } = {}) {
  const instance = await browserFor(browser, options);
  try {
    const tab = instance.isShared ? await clean(instance.context, url) : undefined;
    const page = await openPage(instance.context, url, { pickers, tab });
    try {
      await body(page, instance.context, instance.profile);
    } catch (error) {
      const shown = await page.locator("main").textContent({ timeout: 1000 }).catch(String);
      error.stack += `\nThe page shows: ${shown}\nand complains: ${page.errors.join("; ")}`;
      throw error;
    }
    if (page.errors.length > 0) throw new Error(`the page complains: ${page.errors.join("\n")}`);
  } finally {
    if (!instance.isShared) await instance.close();
  }
}

/** Measures from now on how long the page stands still: {@link longestPause}. */
export const watchPauses = (page) =>
  page.evaluate(() => {
    window.longest = 0;
    let before = performance.now();
    setInterval(() => {
      const now = performance.now();
      window.longest = Math.max(window.longest, now - before);
      before = now;
    }, 10);
  });

/** The longest time in milliseconds that the page stood still since {@link watchPauses}. */
export const longestPause = (page) => page.evaluate(() => window.longest);

/** What the button for a report in JSON gives, parsed. */
export async function jsonReport(page) {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Report JSON" }).click(),
  ]);
  return JSON.parse(readFileSync(await download.path(), "utf8"));
}
