import { expect, test } from "vitest";
import { filesOf, textOf } from "../support/sources.ts";

/** "folder/file: first words" of every docstring that a pattern matches. */
function docstringsMatching(folder: string, pattern: RegExp): string[] {
  return filesOf(folder).flatMap((file) =>
    [...textOf(folder, file).matchAll(/\/\*\*\s*(?:\* )?([^*]*)/g)]
      .filter(([, text]) => pattern.test(text!))
      .map(([, text]) => `${folder}/${file}: ${text!.trim().slice(0, 60)}`),
  );
}

/** "folder/file:line" of every line of a docstring that is longer than a page of an editor is wide. */
function longLinesOf(folder: string, columns: number): string[] {
  return filesOf(folder).flatMap((file) =>
    textOf(folder, file)
      .split("\n")
      .flatMap((line, i) =>
        /^ *(\/\*\*|\*)/.test(line) && line.length > columns ? [`${folder}/${file}:${i + 1}`] : [],
      ),
  );
}

// An editor shows a docstring alone: "Of the whole file" or "The same for halves" say nothing there.
test.each(["src", "assembly"])("docstrings of %s name their subject", (folder) => {
  expect(docstringsMatching(folder, /^(Of|By|The same|That of|Those)\b/)).toEqual([]);
});

test.each(["src", "assembly"])("docstrings of %s fit 110 columns", (folder) => {
  expect(longLinesOf(folder, 110)).toEqual([]);
});

test("a docstring that does not, or is too long, is found", () => {
  expect("Of the whole file, in bytes.").toMatch(/^(Of|By|The same|That of|Those)\b/);
  expect(docstringsMatching("src", /^The dialect of a name/)).toEqual([
    "src/checkpoint/dialects/index.ts: The dialect of a name.",
  ]);
  expect(longLinesOf("src/wasm", 40)).toContain("src/wasm/arena.ts:8");
});
