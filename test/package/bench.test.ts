import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const bench = new URL("../../bench/", import.meta.url);
const files = (readdirSync(bench, { recursive: true }) as string[]).filter(
  (name) => name.endsWith(".mjs") && !name.includes("node_modules"),
);

/** `import { a } from "../dist/x.js"` and `const { a } = await import("../dist/x.js")`. */
const IMPORT =
  /(?:import|const)\s*\{([^}]*)\}\s*(?:from\s*|=\s*await import\(\s*)"((?:\.\.\/)+dist\/[^"]+\.js)"/g;

// Benchmarks take about an hour, so no test runs them all: a name that was changed in src is found here.
test("what benchmarks import of the build is there", async () => {
  const missing: string[] = [];
  let imports = 0;
  for (const file of files) {
    const url = new URL(file, bench);
    for (const [, names, path] of readFileSync(url, "utf8").matchAll(IMPORT)) {
      const found: object = await import(new URL(path!, url).href).catch(() => ({}));
      imports++;
      for (const name of names!.split(",").map((text) => text.trim().split(/\s*(?:\bas\b|:)/)[0]!))
        if (name !== "" && !(name in found)) missing.push(`${file}: ${name} of ${path}`);
    }
  }
  expect(missing).toEqual([]);
  expect(imports).toBeGreaterThan(20);
});
