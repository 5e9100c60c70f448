import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");

const docs = new URL("../../docs/", import.meta.url);
const pages = readdirSync(docs).filter((name) => name.endsWith(".md"));
const texts = [readme, ...pages.map((name) => readFileSync(new URL(name, docs), "utf8"))];

/**
 * The ```js blocks of the README and of docs/; the last console.log of each says in a comment what it prints.
 */
const examples = texts
  .flatMap((text) => [...text.matchAll(/^```js\n(.*?)^```/gms)])
  .map((match) => match[1] as string);

describe("the README", () => {
  it("has examples", () => expect(examples.length).toBeGreaterThanOrEqual(2));

  it.each(examples)("example %# prints what it says", (code) => {
    const promised = [...code.matchAll(/^console\.log\(.*\); \/\/ (.*)$/gm)].map((match) => match[1]);
    expect(promised.length).toBeGreaterThan(0);
    const printed = execFileSync(process.execPath, ["--input-type=module", "--eval", code], {
      cwd: root,
      encoding: "utf8",
    });
    expect(printed.trim().split("\n")).toEqual(promised);
  });

  it("is short, and its links and those of docs/ lead somewhere", () => {
    expect(Buffer.byteLength(readme)).toBeLessThan(10_000);
    for (const [i, text] of texts.entries()) {
      const base = i === 0 ? new URL("../../", import.meta.url) : docs;
      for (const [, link] of text.matchAll(/\]\(([^)#\s]+)\)/g))
        if (!/^https?:/.test(link!)) expect(existsSync(new URL(link!, base)), link).toBe(true);
    }
  });

  it("names files that are there, and so do docs/", () => {
    for (const text of texts)
      for (const [, path] of text.matchAll(/`((?:src|test|bench|assembly|docs|\.config)\/[^`\s*]*)`/g))
        expect(existsSync(new URL(`../../${path}`, import.meta.url)), path).toBe(true);
  });

  it("says how to install, and shows one picture that follows the reader's colours", () => {
    expect(readme).toContain("npm install blockscale");
    const pictures = [...readme.matchAll(/!\[[^\]]+\]\(([^)]+\.svg)\)/g)].map(([, path]) => path!);
    expect(pictures).toHaveLength(1);
    const picture = readFileSync(new URL(`../../${pictures[0]}`, import.meta.url), "utf8");
    expect(picture).toContain("<title");
    expect(picture).toContain("prefers-color-scheme: dark");
  });

  it("names the two commands that package.json has", () => {
    const { scripts } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
    expect(readme).toContain("npm install && npm run demo");
    expect(readme).toContain("npm install && npm test");
    expect(scripts).toMatchObject({ demo: expect.any(String), test: expect.any(String) });
  });
});
