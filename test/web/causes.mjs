// What is wrong is the heading, and the remedy stands beside it, in both languages.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openFiles, withPage } from "./browser.mjs";
import { writeFolder, writeSmall } from "./checkpoints.mjs";

/** Files that are no checkpoint: bytes, and what the page has to say in English and in Chinese. */
const FILES = [
  [
    "model.gguf",
    Buffer.from("GGUF\x03\0\0\0rest of the file"),
    / is a GGUF file/,
    /GGUF 文件/,
    /Only \.safetensors/,
  ],
  ["photo.png", Buffer.from("\x89PNG\r\n\x1a\nrest", "latin1"), / is a picture$/, /图片$/, /Give the/],
  [
    "weights.bin",
    Buffer.from("\x80\x02}q\0rest of it", "latin1"),
    / is a Python pickle/,
    /pickle/,
    /convert it first/,
  ],
  ["empty.safetensors", Buffer.alloc(0), / is an empty file$/, /空文件$/, /Fetch the file again/],
];

async function says(page, title, advice) {
  const alert = page.getByRole("alert").first();
  await alert.locator("strong").getByText(title).waitFor();
  assert.match(await alert.locator("p").first().textContent(), advice);
  await alert.getByRole("button", { name: /^(Close|关闭)$/ }).click();
}

/** Opens a place while the hub answers every request with a status. */
async function openFrom(page, place, status) {
  await page.route("https://huggingface.co/**", (route) =>
    route.fulfill({ status, body: "no", headers: { "access-control-allow-origin": "*" } }),
  );
  await page.locator("#place").fill(place);
  await page.locator("#place").press("Enter");
}

export const tests = [
  {
    name: "files of other kinds, cut off, and with shards missing: the cause is the heading, in both languages",
    async body(env) {
      const folder = join(env.folder, `causes-${env.browser}`);
      writeFolder(folder);
      const whole = join(env.folder, `causes-${env.browser}.safetensors`);
      writeSmall(whole, 64);
      const cut = join(env.folder, "cut-off.safetensors");
      writeFileSync(cut, readFileSync(whole).subarray(0, 5000));
      const index = ["model.safetensors.index.json", "model-00001-of-00002.safetensors"];
      await withPage(env, async (page) => {
        const each = async (language) => {
          for (const [name, bytes, english, chinese, advice] of FILES) {
            const path = join(env.folder, name);
            writeFileSync(path, bytes);
            await page.getByTestId("files").setInputFiles(path);
            await says(
              page,
              language === "en" ? english : chinese,
              language === "en" ? advice : /[一-鿿]{2}/,
            );
          }
          await page.getByTestId("files").setInputFiles(cut);
          await says(
            page,
            language === "en" ? "cut-off.safetensors is cut off" : "cut-off.safetensors 不完整",
            /./,
          );
          await page.getByTestId("files").setInputFiles(index.map((name) => join(folder, name)));
          await says(page, /(Files are missing: |缺少文件：)model-00002-of-00002\.safetensors/, /./);
        };
        await each("en");
        await page.getByRole("button", { name: "中文" }).click();
        await each("zh");
        await page.getByRole("button", { name: "English" }).click();
        await openFiles(page, whole);
      });
    },
  },
  {
    name: "addresses that are none, repositories gated and missing: a field for a token that nobody keeps",
    async body(env) {
      await withPage(env, async (page) => {
        for (const typed of ["ftp://example.org/a.safetensors", "make me a model", "re:(", "%%%"]) {
          await page.locator("#place").fill(typed);
          await page.locator("#place").press("Enter");
          await says(page, `“${typed}” is no address that a browser opens`, /owner\/name/);
        }
        await page.getByRole("button", { name: "中文" }).click();
        for (const [place, status, cause, advice] of [
          ["ftp://example.org", 404, "“ftp://example.org” 不是浏览器能打开的地址", /owner\/name/],
          ["someone/secret", 401, "someone/secret 需要访问令牌", /令牌/],
          ["someone/nothing", 404, "someone/nothing 不存在", /请检查/],
          ["someone/model", 500, "服务器没有给出文件", /范围请求/],
        ]) {
          await openFrom(page, place, status);
          await says(page, cause, advice);
          await page.unroute("https://huggingface.co/**");
        }
        await page.getByRole("button", { name: "English" }).click();
        await openFrom(page, "someone/secret", 401);
        await page.getByRole("alert").getByText("someone/secret needs an access token").waitFor();
        await page.getByLabel("Access token of Hugging Face").fill("hf_secret");
        await page.unroute("https://huggingface.co/**");
        let sent = null;
        page.context().on("request", (request) => {
          if (request.url().includes("huggingface.co")) sent = request.headers().authorization ?? sent;
        });
        await openFrom(page, "someone/secret", 404);
        await page.getByRole("alert").getByText("There is nothing at someone/secret").waitFor();
        assert.equal(sent, "Bearer hf_secret");
        assert.doesNotMatch(await page.evaluate(() => JSON.stringify({ ...localStorage })), /hf_secret/);
        page.errors.length = 0; // the browser's own reports of the answers
      });
    },
  },
];
