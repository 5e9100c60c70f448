import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");

/** In README.md and docs/, `<!-- snippet: NAME -->` stands before the block that is the file NAME. */
const QUOTED = /<!-- snippet: (\S+) -->\n```\w+\n([\s\S]*?)```/g;

test("what the documents quote are the files that the runtimes run", () => {
  const files = readdirSync(new URL("snippets/", import.meta.url));
  const pages = readdirSync(new URL("../../docs/", import.meta.url)).map((name) => `../../docs/${name}`);
  let quoted = 0;
  for (const page of ["../../README.md", ...pages.filter((name) => name.endsWith(".md"))]) {
    for (const [, name, text] of read(page).matchAll(QUOTED)) {
      expect(files).toContain(name);
      expect(text).toBe(read(`snippets/${name}`));
      quoted++;
    }
  }
  expect(quoted).toBeGreaterThan(5);
});
