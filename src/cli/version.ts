import { readFileSync } from "node:fs";

/** Version of the package, whose package.json is two folders up from this file wherever it is installed. */
export function version(): string {
  const manifest = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(manifest) as { version: string }).version;
}
