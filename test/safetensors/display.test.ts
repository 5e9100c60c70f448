import { expect, test } from "vitest";
import { linesWithEscapes, quotedTensor, withEscapes } from "../../src/safetensors/display.ts";

test("characters that turn, hide or move text are shown as escapes", () => {
  expect(withEscapes("a\u202etxt.weight")).toBe("a\\u202etxt.weight");
  expect(withEscapes("\u2066a\u2069\u200b\u0000\n\u2028\ud800")).toBe(
    "\\u2066a\\u2069\\u200b\\u0000\\u000a\\u2028\\ud800",
  );
  // Two halves of one character beyond U+FFFF.
  expect(withEscapes("\u{e0001}")).toBe("\\udb40\\udc01");
  const usual = "model.layers.0.权重 é😀";
  expect(withEscapes(usual)).toBe(usual);
});

test("text of several lines keeps them, and what joins its letters", () => {
  const text = "a\n\tb 👩\u200d🚀";
  expect(linesWithEscapes(text)).toBe(text);
  expect(linesWithEscapes("\u202e\u001b[2J")).toBe("\\u202e\\u001b[2J");
});

test("a name in a message is visible, and cut", () => {
  expect(quotedTensor("a\u202e\n")).toBe('tensor "a\\u202e\\n"');
  expect(quotedTensor("x".repeat(300))).toHaveLength('tensor ""'.length + 203);
});
