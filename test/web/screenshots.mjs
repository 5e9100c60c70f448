// Pictures of all states in all looks, to be looked at: node test/web/screenshots.mjs FOLDER [look] [state]
// Both words are regular expressions: `dark` makes the dark ones alone, `light run` what runs in the light.
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serve } from "../../.config/serve.mjs";
import { chooseFormat, launch, openFolder, openPage, planned } from "./browser.mjs";
import { writeFolder, writeLarge, writeSmall, writeTensors, writeWithInfinity } from "./checkpoints.mjs";

const [out = "screenshots", look = "", state = ""] = process.argv.slice(2);
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true };
const LOOKS = {
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  forced: { colorScheme: "dark", forcedColors: "active" },
  phone: { colorScheme: "light", ...PHONE },
  chinese: { colorScheme: "dark", ...PHONE, isChinese: true },
};

const folder = mkdtempSync(join(tmpdir(), "blockscale-shots-"));
const at = (...names) => join(folder, ...names);

/** What is opened: a model, a file that takes long, one with Inf, one with odd scales, and files that are no checkpoints. */
function writeInputs() {
  writeFolder(at("Qwen3-0.6B"), 1024);
  writeLarge(at("large.safetensors"), 1.5e9);
  writeWithInfinity(at("infinite.safetensors"));
  writeTensors(at("odd.safetensors"), [
    { name: "a.weight", dtype: "F8_E4M3", shape: [256, 256] },
    { name: "a.weight_scale_inv", dtype: "F32", shape: [5, 7] },
    { name: "b.weight", dtype: "F8_E4M3", shape: [64, 64] },
    { name: "empty.weight", dtype: "BF16", shape: [0, 5] },
  ]);
  writeSmall(at("cut.safetensors"), 64);
  writeFileSync(at("cut.safetensors"), readFileSync(at("cut.safetensors")).subarray(0, 5000));
  writeFileSync(at("model.gguf"), "GGUF\x03\0\0\0rest of the file");
  writeFileSync(at("weights.bin"), Buffer.from("\x80\x02}q\0rest of it", "latin1"));
  const stories = new URL("../../dist-web/examples/stories/", import.meta.url);
  cpSync(stories, at("chat"), { recursive: true });
  const tokenizer = JSON.parse(readFileSync(at("chat/tokenizer_config.json"), "utf8"));
  tokenizer.chat_template = "{% for m in messages %}{{ m.content }}\n{% endfor %}";
  writeFileSync(at("chat/tokenizer_config.json"), JSON.stringify(tokenizer));
}

/** Does what a button says, wherever it is. @param selector may be a text in quotation marks, as playwright takes it */
const press = (page, selector) =>
  page
    .locator(selector)
    .first()
    .evaluate((button) => button.click());

const alert = (page) => page.locator("main > [role=alert] strong").first().waitFor();
const choose = (page, ...names) => page.getByTestId("files").setInputFiles(names.map((name) => at(name)));

/** Opens a file that cannot be opened. */
const fails =
  (...names) =>
  (page) =>
    choose(page, ...names).then(() => alert(page));

/** Opens a place while the hub gives this status, or does not answer. */
const place = (typed, status) => async (page) => {
  await page.route("https://**", (route) =>
    status === null
      ? route.abort()
      : route.fulfill({ status, body: "no", headers: { "access-control-allow-origin": "*" } }),
  );
  await page.locator("#place").fill(typed);
  await page.locator("#place").press("Enter");
  await alert(page);
};

const opened = (name) => async (page) => {
  await choose(page, name);
  await page.getByTestId("rows").waitFor();
};

async function model(page) {
  await openFolder(page, at("Qwen3-0.6B"));
  await planned(page);
  await page.waitForFunction(() => !/measuring|测量/.test(document.querySelector(".outcome").textContent));
}

async function panel(page) {
  await model(page);
  await press(page, ".cell.name .link >> nth=5");
  await page.getByTestId("comparison").waitFor();
}

async function done(page) {
  await model(page);
  await press(page, ".outcome > button");
  await page.getByTestId("done").waitFor({ timeout: 120_000 });
}

async function kept(page) {
  await done(page);
  await press(page, ".heading-row button");
  await press(page, "dialog button >> nth=1");
  await page.getByTestId("kept").waitFor();
}

async function running(page) {
  await opened("large.safetensors")(page);
  await planned(page);
  await press(page, ".outcome > button");
  await page.waitForFunction(
    () => Number(document.querySelector("progress, [role=progressbar]")?.ariaValueNow ?? 1) > 0,
  );
  await page.waitForTimeout(700);
}

async function cancelled(page) {
  await running(page);
  await press(page, "[data-testid=running] button >> nth=-1");
  await alert(page);
}

const view = (query, testId) => async (page, url) => {
  await page.goto(`${url}?${query}`);
  await (testId === undefined ? page.locator("main h1") : page.getByTestId(testId)).waitFor();
};

async function ran(page, url) {
  await view("view=run&example=stories", "run-status")(page, url);
  await page
    .getByTestId("run-status")
    .getByText(/0\.\d|\d kB/)
    .waitFor({ timeout: 60_000 });
}

/** What is done until a state is there; the page is the start page at first. A second entry: what the picture shows. */
const STATES = {
  start: () => {},
  opening: async (page) => {
    await page.route("https://**", () => {});
    await page.locator("#place").fill("some/model");
    await page.locator("#place").press("Enter");
  },
  open: model,
  plan: async (page) => {
    await model(page);
    await press(page, ".patterns summary");
    await page.locator("#exclude").fill("re:(");
  },
  mixed: async (page) => {
    await model(page);
    await chooseFormat(page, "compressed-tensors-mixed");
    await page.locator("#overrides").fill('[{ "pattern": "*", "scheme": "fp3" }]');
  },
  tree: async (page) => {
    await model(page);
    await press(page, ".table-tools input[type=checkbox]");
    await press(page, ".group .cell.name");
  },
  panel,
  "panel-below": async (page) => {
    await panel(page);
    await page.getByTestId("heat").click();
    await page.getByTestId("block").waitFor();
  },
  odd: opened("odd.safetensors"),
  "panel-odd": async (page) => {
    await opened("odd.safetensors")(page);
    await press(page, ".cell.name .link >> nth=2");
    await page.getByTestId("charts").waitFor();
  },
  "panel-empty": async (page) => {
    await opened("odd.safetensors")(page);
    await press(page, ".cell.name .link >> nth=3");
    await page.getByTestId("nothing").waitFor();
  },
  running,
  cancelled,
  done,
  leave: async (page) => {
    await done(page);
    await press(page, ".heading-row button");
  },
  kept,
  "failed-gguf": fails("model.gguf"),
  "failed-pickle": fails("weights.bin"),
  "failed-cut": fails("cut.safetensors"),
  "failed-shard": fails(
    "Qwen3-0.6B/model.safetensors.index.json",
    "Qwen3-0.6B/model-00001-of-00002.safetensors",
  ),
  "failed-gated": place("someone/secret", 401),
  "failed-missing": place("someone/nothing", 404),
  "failed-network": place("someone/model", null),
  "failed-address": place("ftp://example.org/a.safetensors", 404),
  "failed-infinite": async (page) => {
    await opened("infinite.safetensors")(page);
    await page.locator(".outcome [role=alert] strong").waitFor();
  },
  "failed-pattern": async (page) => {
    await model(page);
    await press(page, ".patterns summary");
    await page.locator("#exclude").fill("nothing.fits");
    await page.locator(".outcome [role=alert] strong").waitFor();
  },
  "failed-link": view("example=outliers&format=nonsense&tensor=no.weight", "rows"),
  compare: view("view=compare"),
  compared: async (page, url) => {
    await view("view=compare&example=stories", undefined)(page, url);
    await page.locator(".examples button >> nth=1").click();
    await page.getByTestId("verdict").waitFor({ timeout: 60_000 });
  },
  playground: view("view=playground", "map-values"),
  run: async (page, url) => {
    await ran(page, url);
    await press(page, ".run button.primary");
    await page.getByTestId("positions").waitFor({ timeout: 60_000 });
  },
  measured: async (page, url) => {
    await ran(page, url);
    await press(page, "[name=task] >> nth=1");
    await press(page, ".run button.primary");
    await page.getByTestId("measured").waitFor({ timeout: 90_000 });
  },
  chat: async (page, url) => {
    await view("view=run&task=chat")(page, url);
    await page.getByTestId("files").setInputFiles(readdirSync(at("chat")).map((name) => at("chat", name)));
    await page.getByTestId("run-status").getByText(/\d kB/).waitFor({ timeout: 60_000 });
    await page.locator("#run-message").fill("One day Mia");
    await page.locator("#run-message").press("Enter");
    await page.waitForTimeout(3000);
  },
  "run-fails": async (page, url) => {
    await page.goto(`${url}?view=run&example=outliers`);
    await alert(page);
  },
  train: view("view=train"),
  training: async (page, url) => {
    await view("view=train&steps=30")(page, url);
    await press(page, ".train button.primary");
    await page.waitForFunction(
      () => JSON.parse(document.querySelector("[data-testid=losses]")?.dataset.last ?? "[]").length > 8,
    );
  },
};

/** States of the panel and of dialogs are seen as the window shows them; the others whole. */
const isWindow = (name) => /^(panel|leave)/.test(name);

async function shoot(name, reach, file, { isChinese = false, ...options }, url) {
  const { context, close } = await launch("chromium", options);
  try {
    const page = await openPage(context, url);
    if (isChinese) {
      await page.evaluate(() => localStorage.setItem("language", "zh"));
      await page.reload();
    }
    try {
      await reach(page, url);
    } finally {
      await page.waitForTimeout(500);
      await page.screenshot({ path: file, fullPage: !isWindow(name) });
    }
  } finally {
    await close();
  }
}

mkdirSync(out, { recursive: true });
const server = await serve(0);
const url = `http://localhost:${server.address().port}/`;
const failed = [];
try {
  writeInputs();
  for (const [looked, options] of Object.entries(LOOKS)) {
    for (const [name, reach] of Object.entries(STATES)) {
      if (!new RegExp(look).test(looked) || !new RegExp(state).test(name)) continue;
      const file = join(out, `${name}-${looked}.png`);
      await shoot(name, reach, file, options, url).then(
        () => console.log(file),
        (error) => failed.push(`${file}: ${error.message.split("\n")[0]}`),
      );
    }
  }
} finally {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
}
for (const one of failed) console.log(`not reached: ${one}`);
process.exit(failed.length === 0 ? 0 : 1);
