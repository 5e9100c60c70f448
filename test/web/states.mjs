// The states of the page that people see, and how each is reached.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chooseFormat, openFolder, planned, startAndPause } from "./browser.mjs";
import { writeFolder, writeLarge, writeSmall, writeTensors, writeWithInfinity } from "./checkpoints.mjs";

/** Writes what is opened: a model, files that are odd, and files that are no checkpoints. */
function write(folder) {
  const at = (...names) => join(folder, ...names);
  mkdirSync(folder);
  writeFolder(at("Qwen3-0.6B"), 256);
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
  cpSync(new URL("../../dist-web/examples/stories/", import.meta.url), at("chat"), { recursive: true });
  const tokenizer = JSON.parse(readFileSync(at("chat/tokenizer_config.json"), "utf8"));
  tokenizer.chat_template = "{% for m in messages %}{{ m.content }}\n{% endfor %}";
  writeFileSync(at("chat/tokenizer_config.json"), JSON.stringify(tokenizer));
}

/** Gives the path of an input, and writes them all the first time. @param folder of the caller's */
export function inputsIn(folder) {
  const inputs = join(folder, "states");
  return (...names) => {
    if (!existsSync(inputs)) write(inputs);
    return join(inputs, ...names);
  };
}

/** Does what a button says, wherever it is. @param selector may be a text in quotation marks, as playwright takes it */
export const press = (page, selector) =>
  page
    .locator(selector)
    .first()
    .evaluate((button) => button.click());

/** Shows the page in English (`en`) or Chinese (`zh-Hans`). */
export async function chooseLanguage(page, tag) {
  if ((await page.evaluate(() => document.documentElement.lang)) === tag) return;
  await press(page, ".settings button");
  await page.locator(`html[lang=${tag}]`).waitFor({ state: "attached" });
}

/** Waits until a change is to be seen: charts and rows are drawn anew, and colours change step by step. */
export async function settled(page) {
  await page.evaluate(async () => {
    const frame = () => new Promise(requestAnimationFrame);
    for (let i = 0; i < 6; i++) await frame();
    const steps = document.getAnimations().filter((one) => one instanceof CSSTransition);
    await Promise.allSettled(steps.map(({ finished }) => finished));
  });
}

const alert = (page) => page.locator("main > [role=alert] strong").first().waitFor();

/** Opens a file that cannot be opened. */
const fails =
  (...names) =>
  async (page, { at }) => {
    await page.getByTestId("files").setInputFiles(names.map((name) => at(name)));
    await alert(page);
  };

/** Opens a place while the hub gives this status, or does not answer. */
const place = (typed, status) => async (page) => {
  await page.route(/^https:/, (route) =>
    status === null
      ? route.abort()
      : route.fulfill({ status, body: "no", headers: { "access-control-allow-origin": "*" } }),
  );
  await page.locator("#place").fill(typed);
  await page.locator("#place").press("Enter");
  await alert(page);
};

async function open(page, path) {
  await page.getByTestId("files").setInputFiles(path);
  await page.getByTestId("rows").waitFor();
}

async function model(page, { at }) {
  await openFolder(page, at("Qwen3-0.6B"));
  await planned(page);
  await page.waitForFunction(() => !/measuring|测量/.test(document.querySelector(".outcome").textContent));
}

async function panel(page, env) {
  await model(page, env);
  await press(page, ".cell.name .link >> nth=4");
  await page.getByTestId("comparison").waitFor();
  await page.getByTestId("charts").waitFor();
}

async function done(page, env) {
  await model(page, env);
  await press(page, ".outcome > button");
  await page.getByTestId("done").waitFor({ timeout: 120_000 });
}

async function leave(page, env) {
  await done(page, env);
  await press(page, ".heading-row button");
  await page.locator("dialog[open]").waitFor();
}

/** Opens a file of many blocks. */
async function large(page, { at }) {
  if (!existsSync(at("large.safetensors"))) writeLarge(at("large.safetensors"), 7e7);
  await open(page, at("large.safetensors"));
  await planned(page);
}

/**
 * Holds the next run from its begin, while the page goes on to say that it runs. A run that is held says how far
 * it is: while that is too little to be seen, it is let go and held again, which moves it by a few blocks.
 */
const hold = (page) =>
  page.evaluate(() => {
    const { postMessage } = Worker.prototype;
    Worker.prototype.postMessage = function (call, ...rest) {
      postMessage.call(this, call, ...rest);
      if (call.method !== "run") return;
      const order = (method) => postMessage.call(this, { id: -1, method, args: [] });
      order("pause");
      this.addEventListener("message", ({ data: { progress } }) => {
        if (progress === undefined || progress.bytes > 0.02 * progress.size) return;
        order("resume");
        order("pause");
      });
    };
  });

async function running(page, env) {
  await large(page, env);
  await hold(page);
  await press(page, ".outcome > button");
  await page.waitForFunction(() => {
    const bar = document.querySelector("[role=progressbar]");
    return Number(bar?.getAttribute("aria-valuenow") ?? 0) > 0;
  });
}

async function oddTensor(page, { at }, name) {
  await open(page, at("odd.safetensors"));
  await page.getByRole("row", { name }).locator(".cell.shape").click();
}

const link =
  (query, testId) =>
  async (page, { url }) => {
    await page.goto(`${url}?${query}`);
    await (testId === undefined ? page.locator("main h1") : page.getByTestId(testId)).waitFor();
  };

/** Waits until a model is open and converted. */
const converted = (page) =>
  page
    .getByTestId("run-status")
    .getByText(/weights became/)
    .waitFor({ timeout: 60_000 });

async function stories(page, env) {
  await link("view=run&example=stories")(page, env);
  await converted(page);
}

/** By name: what is done until a state is there. The page is the start page at first. */
export const STATES = {
  start: () => {},
  opening: async (page) => {
    await page.route(/^https:/, () => {});
    await page.locator("#place").fill("some/model");
    await page.locator("#place").press("Enter");
    await page.getByText("Reading headers").waitFor();
  },
  open: model,
  plan: async (page, env) => {
    await model(page, env);
    await press(page, ".patterns summary");
    await page.locator("#exclude").fill("re:(");
    await page.locator(".field-fault", { hasText: /\w/ }).waitFor();
  },
  mixed: async (page, env) => {
    await model(page, env);
    await chooseFormat(page, "compressed-tensors-mixed");
    await page.locator("#overrides").fill('[{ "pattern": "*", "scheme": "fp3" }]');
    await page.locator(".field-fault", { hasText: /\w/ }).waitFor();
  },
  tree: async (page, env) => {
    await model(page, env);
    await press(page, ".table-tools input[type=checkbox]");
    await page.locator(".group .cell.name").first().click();
    await page.locator(".group >> nth=1").waitFor();
  },
  panel,
  "panel-below": async (page, env) => {
    await panel(page, env);
    await page.getByTestId("heat").click();
    await page.getByTestId("block").waitFor();
  },
  odd: (page, { at }) => open(page, at("odd.safetensors")),
  "panel-odd": async (page, env) => {
    await oddTensor(page, env, "b.weight");
    await page.locator(".side [role=alert], [data-testid=charts]").first().waitFor();
  },
  "panel-empty": async (page, env) => {
    await oddTensor(page, env, "empty.weight");
    await page.getByTestId("nothing").waitFor();
  },
  running,
  paused: async (page, env) => {
    await large(page, env);
    await startAndPause(page);
  },
  cancelled: async (page, env) => {
    await running(page, env);
    await press(page, "[data-testid=running] button >> nth=-1");
    await alert(page);
  },
  done,
  leave,
  kept: async (page, env) => {
    await leave(page, env);
    await press(page, "dialog[open] button >> nth=1");
    await page.getByTestId("kept").waitFor();
  },
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
  "failed-infinite": async (page, { at }) => {
    await open(page, at("infinite.safetensors"));
    await page.locator(".outcome [role=alert] strong").waitFor();
  },
  "failed-pattern": async (page, env) => {
    await model(page, env);
    await press(page, ".patterns summary");
    await page.locator("#exclude").fill("nothing.fits");
    await page.locator(".outcome [role=alert] strong").waitFor();
  },
  "failed-link": async (page, env) => {
    await link("example=outliers&format=nonsense&tensor=no.weight", "rows")(page, env);
    await alert(page);
    await planned(page);
  },
  compare: link("view=compare"),
  second: async (page, env) => {
    await link("view=compare&example=stories")(page, env);
    await page.getByText("Open the second one").waitFor();
  },
  compared: async (page, env) => {
    await link("view=compare&example=stories")(page, env);
    await page.getByText("Open the second one").waitFor();
    await press(page, ".examples button >> nth=1");
    await page.getByTestId("verdict").waitFor({ timeout: 60_000 });
  },
  playground: link("view=playground", "map-values"),
  "run-start": link("view=run"),
  "run-open": stories,
  run: async (page, env) => {
    await stories(page, env);
    await press(page, ".run button.primary");
    await page.getByTestId("positions").waitFor({ timeout: 60_000 });
  },
  measured: async (page, env) => {
    await stories(page, env);
    await press(page, "[name=task] >> nth=1");
    await page.locator("#run-text").waitFor();
    await press(page, ".run button.primary");
    await page.getByTestId("measured").waitFor({ timeout: 90_000 });
  },
  chat: async (page, env) => {
    await link("view=run&task=chat")(page, env);
    const names = readdirSync(env.at("chat")).map((name) => env.at("chat", name));
    await page.getByTestId("files").setInputFiles(names);
    await converted(page);
    await page.locator("#run-message").fill("One day Mia");
    await page.locator("#run-message").press("Enter");
    await page.getByTestId("turns").locator("li p >> nth=1").getByText(/\w/).waitFor();
  },
  "run-fails": async (page, env) => {
    await link("view=run&example=outliers")(page, env);
    await alert(page);
  },
  train: link("view=train"),
  training: async (page, env) => {
    await link("view=train&steps=30")(page, env);
    await press(page, ".train button.primary");
    await page.waitForFunction(
      () => JSON.parse(document.querySelector("[data-testid=losses]")?.dataset.last ?? "[]").length > 8,
      null,
      { timeout: 60_000 },
    );
    await page.getByRole("button", { name: "Stop" }).click();
  },
};
