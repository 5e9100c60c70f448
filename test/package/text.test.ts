import { expect, test } from "vitest";
import { randomWords } from "../support/random.ts";

const module: string = "../../.config/text.mjs";
const { BYTES_OF, textOf } = (await import(module)) as {
  BYTES_OF: string;
  textOf: (bytes: Uint8Array) => string;
};
const bytesOf = new Function(`${BYTES_OF}; return bytesOf;`)() as (text: string) => Uint8Array;

test("bytes as text come back, and mean nothing in a string or a page", () => {
  const all = Uint8Array.from({ length: 256 }, (_, i) => i);
  const random = new Uint8Array(randomWords(1, 1000).buffer);
  for (const bytes of [all, random, all.subarray(0, 1), all.subarray(255), new Uint8Array()]) {
    const text = textOf(bytes);
    expect(bytesOf(text)).toEqual(bytes);
    expect(text).toMatch(/^[#-~]*$/);
    expect(text).not.toMatch(/[<\\]/);
  }
});
