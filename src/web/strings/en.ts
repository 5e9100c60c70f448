import { checkpoint } from "./en/checkpoint.ts";
import { conversion } from "./en/conversion.ts";
import { page } from "./en/page.ts";
import { problem } from "./en/problem.ts";
import { tensor } from "./en/tensor.ts";

/** All words of the page. Other languages have the same shape: {@link Words}. */
export const en = {
  ...page,
  ...checkpoint,
  ...conversion,
  ...tensor,
  problem,
  /**
   * Words of the library that are shown as they are in English; other languages translate those they know.
   */
  textsOfLibrary: {} as Readonly<Record<string, string>>,
  /** Sentences of the library with names and numbers in them, as patterns. */
  patternsOfLibrary: [] as readonly (readonly [pattern: RegExp, become: string])[],
};

/** The shape of a language. */
export type Words = typeof en;
