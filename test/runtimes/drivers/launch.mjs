// Browsers as Debian packages them, started on one page with an empty profile: no driver protocol, so nothing to pin.
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../workspace.mjs";

/** Firefox would open a tour and its privacy notice instead of the page. */
const FIREFOX_SETTINGS = [
  'user_pref("browser.aboutwelcome.enabled", false);',
  'user_pref("browser.shell.checkDefaultBrowser", false);',
  'user_pref("datareporting.policy.dataSubmissionEnabled", false);',
  'user_pref("toolkit.telemetry.reportingpolicy.firstRun", false);',
].join("\n");

/** Build that should be chosen, and the command for a profile folder and a URL. */
export const BROWSERS = {
  Chromium: {
    build: "relaxed",
    version: async () => (await run("chromium", ["--version"])).match(/[\d.]+/)[0],
    command: async (profile, url) => [
      "chromium",
      [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        `--user-data-dir=${profile}`,
        url,
      ],
    ],
  },
  "Firefox ESR": {
    build: "relaxed",
    version: async () => (await run("firefox-esr", ["--version"])).match(/[\d.]+/)[0],
    command: async (profile, url) => {
      await writeFile(join(profile, "user.js"), FIREFOX_SETTINGS);
      return ["firefox-esr", ["--headless", "--no-remote", "--profile", profile, url]];
    },
  },
  WebKitGTK: {
    build: "baseline",
    version: async () => (await debianVersion("webkit2gtk-driver")).match(/[\d.]+/)[0],
    command: async (_, url) => {
      const files = await run("dpkg", ["-L", "libwebkit2gtk-4.1-0"]);
      return ["xvfb-run", ["-a", files.match(/^\/.*\/MiniBrowser$/m)[0], url]];
    },
  },
};

async function debianVersion(name) {
  return (await run("dpkg-query", ["--status", name])).match(/^Version: (.*)$/m)[1];
}

/** Opens a page in a browser while `work` runs, and ends the browser with all its processes. */
export async function open(browser, url, work, timeout = 120_000) {
  const profile = await mkdtemp(join(tmpdir(), "blockscale-profile-"));
  const [program, parameters] = await BROWSERS[browser].command(profile, url);
  // A process group of its own, which can be ended as a whole; HOME in the profile keeps caches out of the user's.
  const child = spawn(program, parameters, {
    detached: true,
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, HOME: profile },
  });
  let log = "";
  child.stderr.on("data", (text) => (log += text));
  let timer;
  const failed = new Promise((_, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`${browser} ended with ${code}: ${log.slice(-1000)}`)));
    timer = setTimeout(
      () => reject(new Error(`${browser}: no result in ${timeout / 1000} s: ${log.slice(-1000)}`)),
      timeout,
    );
  });
  failed.catch(() => {});
  try {
    return await Promise.race([work, failed]);
  } finally {
    clearTimeout(timer);
    await end(child);
    await rm(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

async function end(child) {
  if (child.exitCode !== null || child.pid === undefined) return;
  const gone = new Promise((resolve) => child.on("exit", resolve));
  process.kill(-child.pid, "SIGTERM");
  const timer = setTimeout(() => process.kill(-child.pid, "SIGKILL"), 3000);
  await gone;
  clearTimeout(timer);
}
