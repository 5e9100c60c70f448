import { describe, expect, it } from "vitest";
import { dialects } from "../../src/checkpoint/dialects/index.ts";
import { filesOf, ROOT, textOf } from "../support/sources.ts";

// Loaded when the test runs: the types that the page's words are made of are those of a browser.
const { zh } = await import(new URL("src/web/strings/zh.ts", ROOT).href);

const sources = filesOf("src").filter((file) => !file.startsWith("web/strings/"));

/** Reasons of plans: why a tensor stays as it is, or is left out. */
const REASON = new RegExp(
  [
    String.raw`\breason: "([^"]+)"`,
    String.raw`\bcopied\(\w+, "([^"]+)"\)`,
    String.raw`_(?:REASON|CHOSEN) =\s+"([^"]+)"`,
    String.raw`\breturn (?:\w+ \? )?"([^"]+)"`,
    String.raw`^\s+[?:] "([^"]*[^".])"[,;]?$`,
  ].join("|"),
  "gm",
);

/** Texts that have a translation, as it is or by a pattern. */
function isTranslated(text: string): boolean {
  return (
    Object.hasOwn(zh.textsOfLibrary, text) || zh.patternsOfLibrary.some(([fits]: [RegExp]) => fits.test(text))
  );
}

describe("the page in Chinese", () => {
  it("says why a tensor stays as it is", () => {
    const deciding = sources.filter((file) =>
      /^checkpoint\/(dialects\/(rules|deepseek|gpt-oss)|plan\/(plan|quantize|dequantize))\.ts$/.test(file),
    );
    const reasons = deciding.flatMap((file) =>
      [...textOf("src", file).matchAll(REASON)].map((match) => match.slice(1).find(Boolean)!),
    );
    expect(reasons).toContain("vision tower: small and sensitive");
    expect(reasons).toContain("stored so already");
    expect(reasons).toContain("MXFP4 experts of gpt-oss: no other dialect stores them");
    expect([...reasons, "columns are no multiple of 32"].filter((reason) => !isTranslated(reason))).toEqual(
      [],
    );
  });

  it("says what each dialect is", () => {
    const said = Object.values(dialects).map(({ about }) => about);
    expect(said.filter((about) => !isTranslated(about))).toEqual([]);
  });

  it("says why training does not begin, or ends", () => {
    for (const text of ["At least 256 bytes of text are needed.", "The worker stopped."])
      expect(isTranslated(text)).toBe(true);
  });

  it("translates nothing that nobody says any more", () => {
    const said = sources.map((file) => textOf("src", file)).join("\n");
    expect(Object.keys(zh.textsOfLibrary).filter((text) => !said.includes(text))).toEqual([]);
  });
});
