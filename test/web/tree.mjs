// Tensors by layer: groups in numeric order with what each holds, searched, by keyboard.
import assert from "node:assert/strict";
import { join } from "node:path";
import { openFiles, planned, withPage } from "./browser.mjs";
import { writeTensors } from "./checkpoints.mjs";

const MATRIX = { dtype: "BF16", shape: [128, 128], bytes: Buffer.alloc(2 * 128 * 128, 0x3f) };
const VECTOR = { dtype: "BF16", shape: [128], bytes: Buffer.alloc(2 * 128, 0x3f) };

/** Twelve layers of two matrices and a vector each, in the order of their names as text. */
function layers(env) {
  const path = join(env.folder, `layers-${env.browser}.safetensors`);
  const names = Array.from({ length: 12 }, (_, i) => `model.layers.${i}`).sort();
  writeTensors(path, [
    { name: "lm_head.weight", ...MATRIX },
    ...names.flatMap((name) => [
      { name: `${name}.mlp.down.weight`, ...MATRIX },
      { name: `${name}.mlp.up.weight`, ...MATRIX },
      { name: `${name}.norm.weight`, ...VECTOR },
    ]),
    // Named as others begin.
    { name: "model.layers.3.mlp", ...VECTOR },
  ]);
  return path;
}

const rows = (page) =>
  page
    .locator("[role=rowgroup] [role=row]")
    .evaluateAll((all) => all.map((row) => [...row.children].map((cell) => cell.innerText.trim())));

const marked = (page) =>
  page.locator("[role=treegrid]").evaluate((grid) => {
    const row = document.getElementById(grid.getAttribute("aria-activedescendant"));
    return [row.querySelector("bdi").textContent, row.ariaLevel, row.ariaExpanded];
  });

/** Until the tree has so many lines. */
const wait = (page, count) =>
  page.waitForFunction(
    (wanted) => document.querySelector("[role=treegrid]")?.ariaRowCount === String(wanted + 1),
    count,
  );

export const tests = [
  {
    name: "tree: tensors by layer, in numeric order, with parameters and bytes of each group",
    async body(env) {
      await withPage(env, async (page) => {
        await openFiles(page, layers(env));
        await planned(page);
        await page.getByLabel("By layer").check();
        await wait(page, 2);
        const kept = 2 * 128;
        const quantised = 128 * 128 + 4;
        const [head, layersOfModel] = await rows(page);
        assert.equal(head[0], "lm_head.weight");
        // Vectors are kept.
        assert.deepEqual(layersOfModel.slice(0, 3), ["model.layers", "394.9K parameters", "24 of 37 change"]);
        const kB = (n) => `${(n / 1000).toFixed(1)} kB`;
        assert.equal(layersOfModel[3], `${Math.round((12 * (2 * quantised + kept) + kept) / 1000)} kB`);
        await page.locator("[role=treegrid]").focus();
        await page.keyboard.press("ArrowDown");
        assert.deepEqual(await marked(page), ["model.layers", "1", "false"]);
        await page.keyboard.press("ArrowRight");
        await wait(page, 14);
        const shown = await rows(page);
        assert.deepEqual(
          shown.slice(2).map(([name]) => name),
          Array.from({ length: 12 }, (_, i) => String(i)),
        );
        assert.equal(shown[2][3], kB(2 * quantised + kept));
        await page.keyboard.press("ArrowRight");
        assert.deepEqual(await marked(page), ["0", "2", "false"]);
        await page.keyboard.press("Enter");
        await wait(page, 16);
        await page.keyboard.press("ArrowRight");
        assert.deepEqual(await marked(page), ["mlp", "3", "false"]);
        await page.keyboard.press("ArrowRight");
        await page.keyboard.press("ArrowRight");
        assert.deepEqual(await marked(page), ["down.weight", "4", null]);
        // A tensor of the tree is kept and shown as one of the list.
        await page.keyboard.press("Space");
        await page.waitForFunction(() => !document.querySelector("[role=row].active input").checked);
        assert.equal((await rows(page))[1][2], "23 of 37 change");
        await page.keyboard.press("Enter");
        await page.getByRole("heading", { name: "model.layers.0.mlp.down.weight", exact: true }).waitFor();
        await page.getByTestId("tensor").getByRole("button", { name: "Next" }).click();
        await page.getByRole("heading", { name: "model.layers.0.mlp.up.weight", exact: true }).waitFor();
        await page.keyboard.press("Escape");
        await page.waitForFunction(() => document.activeElement.getAttribute("role") === "treegrid");
        await page.keyboard.press("ArrowLeft");
        assert.deepEqual(await marked(page), ["mlp", "3", "true"]);
        await page.keyboard.press("ArrowLeft");
        await page.keyboard.press("ArrowLeft");
        await page.keyboard.press("ArrowLeft");
        assert.deepEqual(await marked(page), ["0", "2", "false"]);
        await wait(page, 14);
      });
    },
  },
  {
    name: "tree: search opens what it finds",
    async body(env) {
      await withPage(env, async (page) => {
        await openFiles(page, layers(env));
        await planned(page);
        await page.getByLabel("By layer").check();
        await page.getByRole("searchbox").fill("3 mlp");
        // model.layers.3 with the vector mlp beside the group mlp of two.
        await wait(page, 5);
        assert.deepEqual(
          (await rows(page)).map(([name]) => name),
          ["model.layers.3", "mlp", "down.weight", "up.weight", "mlp"],
        );
        await page.locator(".group").first().click();
        await wait(page, 1);
        await page.getByRole("searchbox").fill("norm");
        await wait(page, 13);
        await page.getByRole("searchbox").fill("");
        await wait(page, 2);
        await page.getByRole("searchbox").fill("no such name");
        await page.getByText("No tensor has such a name.").waitFor();
        await page.getByLabel("By layer").uncheck();
      });
    },
  },
  {
    name: "tree: characters that turn a name are shown as escapes, in the row, its panel and its titles",
    async body(env) {
      const path = join(env.folder, `turned-${env.browser}.safetensors`);
      writeTensors(path, [{ name: "model.\u202egpj.weight", ...MATRIX }]);
      await withPage(env, async (page) => {
        await openFiles(page, path);
        await page.getByRole("button", { name: "model.\\u202egpj.weight" }).click();
        await page.getByRole("heading", { name: "model.\\u202egpj.weight" }).waitFor();
        assert.ok(!(await page.locator("#app").innerHTML()).includes("\u202e"));
      });
    },
  },
  {
    name: "tree: layers 1 and 01 are two groups",
    browsers: ["chromium"],
    async body(env) {
      const path = join(env.folder, "zeros.safetensors");
      const names = ["h.1.a", "h.01.a", "h.1.b", "h.01.b"];
      writeTensors(
        path,
        names.map((name) => ({ name, ...VECTOR })),
      );
      await withPage(env, async (page) => {
        await openFiles(page, path);
        await page.getByLabel("By layer").check();
        await wait(page, 1);
        await page.locator(".group").click();
        await wait(page, 3);
        assert.deepEqual(
          (await rows(page)).map(([name]) => name),
          ["h", "01", "1"],
        );
        await page.getByLabel("By layer").uncheck();
      });
    },
  },
];
