// Two checkpoints held against each other: the figures of the command line.
import assert from "node:assert/strict";
import { join } from "node:path";
import { downloadedBy, openFiles, withPage } from "./browser.mjs";
import { writeSmall } from "./checkpoints.mjs";
import { cli } from "./command-line.mjs";

export const tests = [
  {
    name: "comparing: the figures of the command line, those that lost most first",
    async body(env) {
      const [a, b] = ["stories", "stories-fp8"].map((name) => join(env.root, "dist-web/examples", name));
      const { tensors } = await cli(env, "compare", a, b);
      const worst = tensors
        .filter(({ precision }) => precision.sqnrDb !== null)
        .sort((x, y) => x.precision.sqnrDb - y.precision.sqnrDb);
      await withPage(env, async (page) => {
        await page.goto(`${env.url}?view=compare&example=stories`);
        await page.getByRole("heading", { name: "Open the second one" }).waitFor();
        await page.getByRole("button", { name: /^The same in FP8/ }).click();
        const verdict = page.getByTestId("verdict");
        await verdict.waitFor();
        const least = `${worst[0].precision.sqnrDb.toFixed(1)} dB`;
        const expected = `${tensors.length} tensors, ${tensors.length - worst.length} of them without loss; the least SQNR is ${least}.`;
        assert.ok((await verdict.textContent()).includes(expected), await verdict.textContent());
        const rows = page.getByTestId("compared").locator("tbody tr");
        assert.equal(await rows.count(), tensors.length);
        assert.equal(await rows.first().locator("code").textContent(), worst[0].name);
        const press = () => page.getByRole("button", { name: "Figures as JSON" }).click();
        const found = JSON.parse((await downloadedBy(page, press)).bytes);
        const shown = (all) => all.map(({ name, precision }) => [name, precision.sqnrDb, precision.values]);
        assert.deepEqual(shown(found.tensors), shown(tensors));
        // With itself nothing is lost.
        await page.getByRole("button", { name: "Compare with another" }).click();
        await page.getByRole("button", { name: /^A language model/ }).click();
        await page.getByText(`${tensors.length} tensors: nothing was lost.`).waitFor();
      });
    },
  },
  {
    name: "comparing: another model, and no checkpoint at all, are said; 390 px are enough, in Chinese",
    async body(env) {
      const small = join(env.folder, `compared-${env.browser}.safetensors`);
      writeSmall(small);
      await withPage(env, async (page) => {
        await openFiles(page, small);
        await page.getByRole("link", { name: "Compare" }).click();
        await page.getByRole("button", { name: /^Difficult weights/ }).click();
        await page.getByText("They are not the same model").waitFor();
        await page.getByText("only in the second").first().waitFor();
        // What was not compared is not counted as without loss.
        const said = await page.getByTestId("verdict").textContent();
        const [, compared, others] =
          /\.(?:(\d+) tensors?, 0 of them without loss|There is no tensor).* Not compared: (\d+)/.exec(said);
        assert.equal(
          Number(compared ?? 0) + Number(others),
          await page.getByTestId("compared").locator("tbody tr").count(),
        );
        await page.setViewportSize({ width: 390, height: 844 });
        assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 390);
        await page.setViewportSize({ width: 1280, height: 860 });
        await page.getByRole("button", { name: "Compare with another" }).click();
        await page.locator("#place").fill("ftp://example.org/a");
        await page.locator("#place").press("Enter");
        await page.getByRole("alert").getByText("is no address that a browser opens").first().waitFor();
        await page.getByRole("button", { name: "中文" }).click();
        await page.getByRole("heading", { name: "比较两个检查点" }).waitFor();
        await page.getByRole("button", { name: "English" }).click();
      });
    },
  },
];
