import { execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Installs packages in a folder, unless it has some already. Their scripts are not run. */
export function install(folder, packages) {
  if (existsSync(join(folder, "node_modules"))) return;
  writeFileSync(join(folder, "package.json"), "{}");
  const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefix", folder];
  execFileSync("npm", ["install", ...flags, ...packages], { stdio: "inherit" });
}
