// Pictures of the main states, light, dark and narrow: node test/web/screenshots.mjs FOLDER
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serve } from "../../.config/serve.mjs";
import { convert, launch, openFiles, openFolder, openPage, planned } from "./browser.mjs";
import { writeFolder, writeLarge } from "./checkpoints.mjs";

const out = process.argv[2] ?? "screenshots";
mkdirSync(out, { recursive: true });
const folder = mkdtempSync(join(tmpdir(), "blockscale-shots-"));
const server = await serve(0);
const url = `http://localhost:${server.address().port}/`;

const LOOKS = {
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  narrow: { colorScheme: "light", viewport: { width: 400, height: 860 } },
  chinese: { colorScheme: "dark", viewport: { width: 400, height: 860 }, chinese: true },
};

const model = join(folder, "Qwen3-0.6B");
const large = join(folder, "large.safetensors");
try {
  writeFolder(model, 1024);
  writeLarge(large, 1.5e9);
  for (const [look, { chinese = false, ...options }] of Object.entries(LOOKS)) {
    const { context, close } = await launch("chromium", options);
    try {
      const page = await openPage(context, url);
      if (chinese) {
        await page.getByRole("button", { name: "中文" }).click();
      }
      const shoot = async (state, fullPage = true) => {
        await page.waitForTimeout(500);
        await page.screenshot({ path: join(out, `${look}-${state}.png`), fullPage });
      };
      await shoot("start");
      await openFolder(page, model);
      await planned(page);
      await page.waitForTimeout(1500);
      await shoot("open");
      await convert(page);
      await shoot("done");
      await page.locator(".cell.name .link").nth(5).click();
      await page.getByTestId("comparison").waitFor();
      await shoot("tensor", false);
      await page.getByTestId("tensor").evaluate((panel) => panel.scrollTo(0, 1e6));
      await shoot("tensor-below", false);
      await page.keyboard.press("Escape");
      await page.locator(".heading button").click();
      await shoot("leave", false);
      await page.getByRole("dialog").getByRole("button").nth(1).click();
      await page.getByTestId("kept").waitFor();
      await page.locator("#place").fill("ftp://example.org/a");
      await page.locator("#place").press("Enter");
      await page.getByRole("alert").locator("strong").waitFor();
      await shoot("kept");
      await openFiles(page, large);
      await planned(page);
      await page.waitForTimeout(2500);
      await page.locator(".outcome button").click();
      await page.waitForTimeout(1300);
      await shoot("running");
      await page.getByTestId("running").locator("button").last().click();
      await page.getByRole("alert").locator("strong").waitFor();
      await shoot("cancelled");
    } finally {
      await close();
    }
  }
} finally {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
}
