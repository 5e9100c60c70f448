// Pictures of all states in all looks, to be looked at: node test/web/screenshots.mjs FOLDER [look] [state]
// Both words are regular expressions: `dark` makes the dark ones alone, `light run` what runs in the light.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serve } from "../../.config/serve.mjs";
import { closeBrowsers, withPage } from "./browser.mjs";
import { chooseLanguage, inputsIn, STATES, settled } from "./states.mjs";

const [out = "screenshots", look = "", state = ""] = process.argv.slice(2);

const WIDE = { width: 1280, height: 860 };
const PHONE = { width: 390, height: 844 };
const LOOKS = {
  light: { colorScheme: "light", size: WIDE },
  dark: { colorScheme: "dark", size: WIDE },
  forced: { colorScheme: "dark", forcedColors: "active", size: WIDE },
  phone: { colorScheme: "light", size: PHONE },
  chinese: { colorScheme: "dark", size: PHONE, language: "zh-Hans" },
};

/** Shows the page, as it is, in another look. */
async function wear(page, { size, language = "en", ...media }) {
  await page.emulateMedia({ forcedColors: "none", ...media });
  await page.setViewportSize(size);
  const session = await page.context().newCDPSession(page);
  await session.send("Emulation.setTouchEmulationEnabled", { enabled: size === PHONE });
  await chooseLanguage(page, language);
  await settled(page);
}

/** States of the panel and of dialogs are seen as the window shows them; the others whole. */
const isWindow = (name) => /^(panel|leave)/.test(name);

const folder = mkdtempSync(join(tmpdir(), "blockscale-shots-"));
const at = inputsIn(folder);
mkdirSync(out, { recursive: true });
const server = await serve(0);
const url = `http://localhost:${server.address().port}/`;
const failed = [];

async function shoot(name, reach) {
  await withPage({ browser: "chromium", url }, async (page) => {
    await reach(page, { url, at });
    for (const [looked, how] of Object.entries(LOOKS)) {
      if (!new RegExp(look).test(looked)) continue;
      await wear(page, how);
      const file = join(out, `${name}-${looked}.png`);
      await page.screenshot({ path: file, fullPage: !isWindow(name) });
      console.log(file);
    }
    await wear(page, LOOKS.light);
    page.errors.length = 0; // what the browser says of servers that do not answer
  });
}

try {
  for (const [name, reach] of Object.entries(STATES)) {
    if (!new RegExp(state).test(name)) continue;
    await shoot(name, reach).catch((error) => failed.push(`${name}: ${error.message.split("\n")[0]}`));
  }
} finally {
  await closeBrowsers();
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
}
for (const one of failed) console.log(`not reached: ${one}`);
process.exit(failed.length === 0 ? 0 : 1);
