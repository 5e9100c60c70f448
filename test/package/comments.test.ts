import { expect, test } from "vitest";
import { filesOf, textOf } from "../support/sources.ts";

/** "src/file: first words" of every docstring that a pattern matches. */
function docstringsMatching(pattern: RegExp): string[] {
  return filesOf("src").flatMap((file) =>
    [...textOf("src", file).matchAll(/\/\*\*\s*(?:\* )?([^*]*)/g)]
      .filter(([, text]) => pattern.test(text!))
      .map(([, text]) => `src/${file}: ${text!.trim().slice(0, 60)}`),
  );
}

// An editor shows a docstring alone: "Of the whole file" or "The same for halves" say nothing there.
test("docstrings name their subject", () => {
  expect(docstringsMatching(/^(Of|By|The same|That of|Those)\b/)).toEqual([]);
});

test("a docstring that does not is found", () => {
  expect("Of the whole file, in bytes.").toMatch(/^(Of|By|The same|That of|Those)\b/);
  expect(docstringsMatching(/^The dialect of a name/)).toEqual([
    "src/checkpoint/dialects/index.ts: The dialect of a name.",
  ]);
});
