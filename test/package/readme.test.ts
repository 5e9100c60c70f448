import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");

/** The ```js blocks of the README; the last console.log of each says in a comment what it prints. */
const examples = [...readme.matchAll(/^```js\n(.*?)^```/gms)].map((match) => match[1] as string);

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

  it("names the two commands that package.json has", () => {
    const { scripts } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
    expect(readme).toContain("npm install && npm run demo");
    expect(readme).toContain("npm install && npm test");
    expect(scripts).toMatchObject({ demo: expect.any(String), test: expect.any(String) });
  });
});
