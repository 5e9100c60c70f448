// A format for each weight: overrides as the command line takes them, from a file or pasted.
import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chooseFormat, convert, openFolder, planned, privateFiles, withPage } from "./browser.mjs";
import { writeFolder } from "./checkpoints.mjs";
import { cli, hashes, onlyHashes } from "./command-line.mjs";

const DIALECT = "compressed-tensors-mixed";

/** As `blockscale sensitivity --out` writes them: by the names of weights. */
const OVERRIDES = [
  { pattern: "model.layers.0.mlp.up_proj.weight", scheme: "nvfp4" },
  { pattern: "model.layers.1.mlp.up_proj.weight", scheme: "keep" },
  { pattern: "*.down_proj.weight", scheme: "mxfp8" },
];

async function model(env) {
  const folder = join(env.folder, "mixed");
  const [overrides, expected] = [`${folder}.json`, `${folder}-out`];
  if (!existsSync(expected)) {
    writeFolder(folder);
    writeFileSync(overrides, JSON.stringify(OVERRIDES));
    await cli(env, "quantize", folder, expected, "--overrides", overrides);
  }
  return { folder, overrides, expected };
}

/** What is wrong, for whom, and in Chinese. */
const FAULTS = [
  ["[{", /^the text: expected a JSON list of overrides, found .*\. Write overrides as \[\{/, /JSON 列表/],
  ["{}", /expected a JSON list of overrides, found a value of type object/, /JSON 列表/],
  ['[{ "pattern": "*" }]', /^override of "\*": expected a pattern, and as its scheme/, /一个模式/],
  [
    '[{ "pattern": "*", "scheme": "fp3" }]',
    /^override of "\*": expected "keep", nvfp4, mxfp4, fp8, mxfp8, found "fp3"\. Choose one of these\.$/,
    /请从中选择一个。$/,
  ],
  [
    '[{ "pattern": "*", "scheme": { "rounding": "up" } }]',
    /^override of "\*"\.rounding: expected one of floor, rceil, .*, found up\./,
    /^对 "\*" 的 override\.rounding：应为以下之一：floor/,
  ],
  ['[{ "pattern": "re:(", "scheme": "keep" }]', /re:\(/, /re:\(/],
];

export const tests = [
  {
    name: "a mix of formats: overrides from a file give what the command line makes; faults are said beside the field",
    async body(env) {
      const { folder, overrides, expected } = await model(env);
      await withPage(env, async (page) => {
        await openFolder(page, folder);
        await planned(page);
        await chooseFormat(page, DIALECT);
        const field = page.getByLabel("A format for each weight");
        const fault = page.locator("#overrides-fault");
        for (const [text, english, chinese] of FAULTS) {
          await field.fill(text);
          await fault.filter({ hasText: english }).waitFor();
          assert.ok(await page.locator(".outcome > button").isDisabled(), text);
          assert.equal(await field.getAttribute("aria-invalid"), "true");
          await page.getByRole("button", { name: "中文" }).click();
          await page.locator("#overrides-fault").filter({ hasText: chinese }).waitFor();
          await page.getByRole("button", { name: "English" }).click();
        }
        await field.fill('[{ "pattern": "no.weight", "scheme": "keep" }]');
        await page
          .getByRole("alert")
          .getByText(/overrides: "no\.weight"/)
          .first()
          .waitFor();
        await page.getByTestId("overrides-file").setInputFiles(overrides);
        await page.getByText("3 overrides; the rest becomes fp8.").waitFor();
        assert.equal(await field.inputValue(), JSON.stringify(OVERRIDES));
        await planned(page);
        // Looked at closely, a weight has the blocks of its own format.
        await page.getByRole("row", { name: "layers.0.mlp.up_proj" }).locator(".cell.shape").click();
        const panel = page.getByTestId("tensor");
        await panel.getByText(/^One cell per 1×16 block/).waitFor();
        await panel.getByRole("rowheader").first().getByText("compressed-tensors-nvfp4").waitFor();
        await page.keyboard.press("Escape");
        await convert(page);
        assert.deepEqual(onlyHashes(await privateFiles(page)), hashes(expected));
        await page.getByRole("button", { name: "Convert differently" }).click();
        await page.getByRole("button", { name: "Delete it" }).click();
        assert.equal(await field.inputValue(), JSON.stringify(OVERRIDES));
        // Another dialect stores one format: what the field says is of no account.
        await chooseFormat(page, "mxfp8");
        await planned(page);
        assert.equal(await field.count(), 0);
      });
    },
  },
];
