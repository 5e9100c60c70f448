// Debian packages that tests run: node test/support/debian.mjs installs all of them beforehand, as root.
import { execFileSync, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Browsers, the screen that nobody sees, and letters for Chinese. */
export const BROWSERS = ["chromium", "firefox-esr", "webkit2gtk-driver", "xvfb", "xauth", "fonts-noto-cjk"];
export const REDIS = ["redis-server"];

/** Installs those that are missing, as root. */
export function installDebian(names) {
  const missing = names.filter((name) => spawnSync("dpkg-query", ["--status", name]).status !== 0);
  if (missing.length === 0) return;
  const apt = (...args) =>
    execFileSync("apt-get", ["-qq", "-o", "DPkg::Lock::Timeout=300", ...args], {
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    });
  apt("update");
  apt("install", "-y", "--no-install-recommends", ...missing);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) installDebian([...BROWSERS, ...REDIS]);
