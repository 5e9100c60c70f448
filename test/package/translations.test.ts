import { describe, expect, it } from "vitest";
import { dialects } from "../../src/checkpoint/dialects/index.ts";
import { faultsOf, type Said } from "../support/faults.ts";
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

/** What may go wrong with files, addresses and texts that people give the page. */
const OF_FILES =
  /^(safetensors|checkpoint\/(dialects|plan|read|run)|model)\/|^io\/(source|http|retry)\.ts|^(train\/trainer|evaluate\/evaluate)\.ts/;

/** What to do about it is the business of a program that calls the library, or of a command: not of the page. */
const FOR_PROGRAMS =
  /^(Pass |Put |Fill |Send |Leave it out|In Node|Use embed|A source is|512 is|Each row|Open it again|The error of that member|This model completes texts|Please report)|`blockscale|embed\(|engine\.|encode\(|maxTokens|the ids of tokens|with threads: /;

/** What stands for a piece of text that is only known when it runs. */
const PIECES = ["7", "a.b", '"a"', "[2, 3]", 'tensor "a"', "a or b or c"];

/** A text with its unknown pieces filled in, in every way. */
function* filled([first, ...rest]: Said, before = ""): Generator<string> {
  if (first === undefined) yield before;
  else for (const piece of first === null ? PIECES : [first]) yield* filled(rest, before + piece);
}

/** Whether a text has a translation, whatever its unknown pieces are. */
function isSaidInChinese(said: Said): boolean {
  for (const text of filled(said)) if (isTranslated(text)) return true;
  return false;
}

const hasWords = (said: Said) => said.some((piece) => /\b[a-z]{3,}\b/.test(piece ?? ""));

describe("the page in Chinese", () => {
  it("says what is wrong with a file, an address or a text, and what to do about it", () => {
    const faults = sources
      .filter((file) => OF_FILES.test(file))
      .flatMap(faultsOf)
      .filter(({ fix }) => !fix.every((said) => FOR_PROGRAMS.test(said.join(""))));
    expect(faults.length).toBeGreaterThan(40);
    const english = faults.flatMap(({ file, expected, got, fix }) =>
      [...expected, ...got, ...fix]
        .filter((said) => hasWords(said) && !isSaidInChinese(said))
        .map((said) => `${file}: ${said.map((piece) => piece ?? "…").join("")}`),
    );
    expect([...new Set(english)]).toEqual([]);
  });

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
