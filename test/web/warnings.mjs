// What the library warns of is beside what it is about, in both languages.
import assert from "node:assert/strict";
import { join } from "node:path";
import { chooseFormat, openFiles, planned, withPage } from "./browser.mjs";
import { writeSmall, writeTensors } from "./checkpoints.mjs";
import { audit } from "./page.mjs";

/** The panel of a tensor covers the button. */
const choose = (page, name) => page.getByRole("button", { name }).evaluate((button) => button.click());
const inChinese = (page) => choose(page, "中文").then(() => page.locator("html[lang=zh-Hans]").waitFor());
const inEnglish = (page) => choose(page, "English");

/** No sentence of a warning is left in English: names of tensors and programs stay. */
async function isChinese(place) {
  const text = (await place.innerText()).replace(/"[^"]*"|\w+(\.\w+)+/g, "");
  assert.doesNotMatch(text, /\b(expected|found|which|with|scales?|sides|codes|reads?|none)\b/, text);
  assert.match(text, /[\u4e00-\u9fff]/);
}

export const tests = [
  {
    name: "warnings of a checkpoint: above it, beside its tensors, in both languages",
    async body(env) {
      const input = join(env.folder, `odd-scales-${env.browser}.safetensors`);
      writeTensors(input, [
        { name: "a.weight", dtype: "F8_E4M3", shape: [256, 256] },
        { name: "a.weight_scale_inv", dtype: "F32", shape: [5, 7] },
        { name: "b.weight", dtype: "F8_E4M3", shape: [64, 64] },
        { name: "c.qweight", dtype: "I32", shape: [8, 8] },
        { name: "d.weight", dtype: "BF16", shape: [8, 8] },
      ]);
      await withPage(env, async (page) => {
        await openFiles(page, input);
        const above = page.locator(".heading").getByTestId("warnings");
        for (const sentence of [
          /^tensor "a\.weight_scale_inv": expected one scale per block of tensor "a\.weight" \[256, 256\], found \[5, 7\], which fits no known block\.$/,
          /^tensor "b\.weight": expected scales for its F8_E4M3 codes, named .*, found none\.$/,
          /^tensor "c\.qweight": GPTQ or AWQ, not read here; GPTQModel or AutoAWQ reads it$/,
        ])
          await above.getByRole("listitem").filter({ hasText: sentence }).waitFor();
        await page.getByText("those tensors are shown as if their scale were 1").waitFor();
        const marked = page
          .getByRole("row")
          .filter({ has: page.getByRole("img", { name: /^Something is odd/ }) });
        assert.deepEqual(await marked.locator(".cell.name .link").allTextContents(), [
          "a.weight",
          "a.weight_scale_inv",
          "b.weight",
          "c.qweight",
        ]);
        await page.getByRole("row", { name: "b.weight" }).locator(".cell.shape").click();
        const beside = page.getByTestId("tensor").getByTestId("warnings");
        await beside.getByText("found none").waitFor();
        assert.deepEqual(await audit(page), []);
        await inChinese(page);
        await isChinese(above);
        await isChinese(beside);
        await inEnglish(page);
        await page.keyboard.press("Escape");
        await page.getByRole("row", { name: "d.weight" }).locator(".cell.shape").click();
        await page.getByRole("heading", { name: "d.weight" }).waitFor();
        assert.equal(await beside.count(), 0);
      });
    },
  },
  {
    name: "warnings of a plan: beside the format, and beside the result, in both languages",
    async body(env) {
      const input = join(env.folder, `ragged-${env.browser}.safetensors`);
      writeSmall(input);
      await withPage(env, async (page) => {
        await openFiles(page, input);
        const note = page.locator("aside .card").getByTestId("warnings");
        await note
          .getByText(/^2 weights, such as model\.layers\.0\.self_attn\.k_proj\.weight \[320, 512\],/)
          .waitFor();
        await chooseFormat(page, "modelopt");
        await note.getByText(/^transformers loads ModelOpt's folders without an error, and wrong/).waitFor();
        await inChinese(page);
        await isChinese(note);
        await inEnglish(page);
        await chooseFormat(page, "compressed-tensors-mxfp4");
        await note.waitFor({ state: "detached" });
        await chooseFormat(page, "mxfp8");
        await note.getByText(/^vLLM looks for these scales under another name/).waitFor();
        await planned(page);
        await page.getByRole("button", { name: "Convert", exact: true }).click();
        const done = page.getByTestId("done");
        await done
          .getByTestId("warnings")
          .getByText(/^vLLM looks for these scales/)
          .waitFor();
      });
    },
  },
];
