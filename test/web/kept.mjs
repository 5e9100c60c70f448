// Nothing is lost: finished outputs are asked about and offered again, and one bad tensor does not stop the others.
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { convert, openFiles, planned, privateFiles, withPage } from "./browser.mjs";
import { writeSmall, writeTensors, writeWithInfinity } from "./checkpoints.mjs";
import { cli, onlyHashes, sha256 } from "./command-line.mjs";

function small(env) {
  const path = join(env.folder, `kept-${env.browser}.safetensors`);
  writeSmall(path, 64);
  return path;
}

async function convertSmall(page, env) {
  await openFiles(page, small(env));
  await planned(page);
  await convert(page);
}

const ask = (page) => page.getByRole("dialog", { name: "The output is not saved" });
const waiting = (page) => page.getByTestId("kept").getByRole("listitem");

export const tests = [
  {
    name: "an output that is not saved: asked about before another is opened, kept, offered, deleted",
    async body(env) {
      await withPage(env, async (page) => {
        await convertSmall(page, env);
        await page.getByRole("button", { name: "Open another" }).click();
        await ask(page).getByRole("button", { name: "Back" }).click();
        await page.getByTestId("done").waitFor();
        await page.getByRole("button", { name: "Convert differently" }).click();
        await ask(page).getByRole("button", { name: "Keep it here for later" }).click();
        await planned(page);
        await page.getByRole("button", { name: "Open another" }).click();
        await waiting(page)
          .getByText(/kept-\w+-fp8\.safetensors/)
          .waitFor();
        assert.match(await waiting(page).textContent(), /[kM]?B · this minute/);
        await page.getByRole("button", { name: /^Delete/ }).click();
        await page.getByTestId("kept").waitFor({ state: "detached" });
        assert.deepEqual(await privateFiles(page), {});
      });
    },
  },
  {
    name: "an output that is not saved: reloading asks, and the next visit offers it whole",
    async body(env) {
      const expected = join(env.folder, `kept-expected-${env.browser}.safetensors`);
      await cli(env, "quantize", small(env), expected);
      await withPage(env, async (page) => {
        await convertSmall(page, env);
        let asked = 0;
        page.on("dialog", (dialog) => {
          if (dialog.type() === "beforeunload") asked++;
          dialog.accept();
        });
        await page.reload();
        if (env.browser === "chromium") assert.equal(asked, 1);
        await waiting(page)
          .getByText(/kept-\w+-fp8\.safetensors/)
          .waitFor();
        assert.deepEqual(Object.values(onlyHashes(await privateFiles(page))), [sha256(expected)]);
        // Saved, it is not offered again, and removed by the visit after that.
        const save = page.getByTestId("kept").getByRole("button", { name: /^Save/ });
        if (env.browser !== "chromium") return;
        const [download] = await Promise.all([page.waitForEvent("download"), save.click()]);
        assert.equal(sha256(await download.path()), sha256(expected));
        await page.waitForTimeout(600);
        await page.reload();
        await page.getByRole("button", { name: "Choose files" }).waitFor();
        await page.waitForFunction(async () => {
          const root = await navigator.storage.getDirectory();
          for await (const _ of root.keys()) return false;
          return true;
        });
        assert.equal(await page.getByTestId("kept").count(), 0);
      });
    },
  },
  {
    name: "one Inf: the page says where, and goes on without that tensor",
    async body(env) {
      const input = join(env.folder, `infinite-${env.browser}.safetensors`);
      const expected = join(env.folder, `infinite-expected-${env.browser}.safetensors`);
      writeWithInfinity(input);
      await cli(env, "quantize", input, expected, "--exclude", "b.weight");
      await withPage(env, async (page) => {
        await openFiles(page, input);
        await page.getByText("b.weight holds NaN or Inf in the block at row 128, column 256").waitFor();
        assert.ok(await page.locator(".outcome > button").isDisabled());
        await page.getByRole("button", { name: "Keep b.weight as it is" }).click();
        await page.getByText("1 of 2 tensors change").waitFor();
        await planned(page);
        await convert(page);
        const hashes = Object.values(onlyHashes(await privateFiles(page)));
        assert.deepEqual(hashes, [sha256(expected)]);
      });
    },
  },
  {
    name: "an Inf that is met in the run: kept with one click, and the run goes on to its end",
    async body(env) {
      const input = join(env.folder, `late-${env.browser}.safetensors`);
      // Large enough before it for the estimate, which looks at a few strips, not to see it.
      const large = { dtype: "BF16", shape: [2048, 1024] };
      const bad = Buffer.alloc(2 * 128 * 128);
      bad.writeUInt16LE(0x7fc0, 0);
      writeTensors(input, [
        ...Array.from({ length: 12 }, (_, i) => ({ name: `m.${i}.up_proj.weight`, ...large })),
        { name: "z.weight", dtype: "BF16", shape: [128, 128], bytes: bad },
      ]);
      await withPage(env, async (page) => {
        await openFiles(page, input);
        await planned(page);
        await page.getByText(/^about /).waitFor();
        await page.locator(".outcome > button").click();
        await page.getByText("z.weight holds NaN or Inf in the block at row 0, column 0").waitFor();
        await page.getByRole("button", { name: "Keep all that hold NaN or Inf" }).click();
        await page.getByTestId("done").waitFor();
      });
    },
  },
  {
    name: "patterns half typed are said beside the field, and the page goes on",
    async body(env) {
      await withPage(env, async (page) => {
        await openFiles(page, small(env));
        await planned(page);
        await page.getByText("Choose tensors by name").click();
        await page.locator("#exclude").fill("re:(");
        await page.getByText("re:( is no regular expression yet.").waitFor();
        assert.equal(await page.locator("#exclude").getAttribute("aria-invalid"), "true");
        assert.ok(await page.locator(".outcome > button").isDisabled());
        await page.locator("#exclude").fill("re:(up_proj)");
        await page.getByText("re:( is no").waitFor({ state: "detached" });
        await page.locator("#exclude").fill("*.nowhere");
        await page.getByRole("alert").getByText("A pattern fits nothing").waitFor();
        await page.locator("#exclude").fill("");
        await planned(page);
        await page.locator(".outcome > button:enabled").waitFor();
      });
    },
  },
  {
    name: "a lone file: what to add to config.json; one shard of five: which one it is",
    async body(env) {
      const folder = join(env.folder, `shards-${env.browser}`);
      mkdirSync(folder, { recursive: true });
      const shard = join(folder, "model-00002-of-00005.safetensors");
      writeSmall(shard, 64);
      const config = join(folder, "config.json");
      writeFileSync(config, JSON.stringify({ model_type: "llama" }));
      await withPage(env, async (page) => {
        await openFiles(page, shard);
        await page.getByText("This is file 2 of 5.").waitFor();
        await planned(page);
        await page.getByText("No config.json is open").click();
        const text = await page.getByTestId("to-add").locator("pre").textContent();
        assert.equal(JSON.parse(text).quantization_config.quant_method, "fp8");
        await page.getByRole("button", { name: "Open another" }).click();
        await openFiles(page, shard, config);
        await planned(page);
        assert.equal(await page.getByTestId("to-add").count(), 0);
      });
    },
  },
];
