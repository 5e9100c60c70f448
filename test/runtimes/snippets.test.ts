import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");

/** In the README, `<!-- snippet: NAME -->` stands before the block that is the file NAME. */
const QUOTED = /<!-- snippet: (\S+) -->\n```\w+\n([\s\S]*?)```/g;

test("what the README quotes are the files that the runtimes run", () => {
  const files = readdirSync(new URL("snippets/", import.meta.url));
  for (const [, name, text] of read("../../README.md").matchAll(QUOTED)) {
    expect(files).toContain(name);
    expect(text).toBe(read(`snippets/${name}`));
  }
});
