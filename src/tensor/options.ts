import { isRecord, kindOf } from "./checks.ts";
import { BlockscaleError } from "./errors.ts";

/**
 * Checks that the last argument of a function is an options object, and knows all names in it: a
 * misspelt option would be left out in silence.
 * @param known names of the options
 * @throws BlockscaleError `option`: an unknown name; or no object,
 * such as the array that belongs into { out }
 */
export function checkKnown<T extends object>(where: string, options: T, known: readonly string[]): T {
  const isObject = isRecord(options);
  const unknown = isObject ? Object.keys(options).find((key) => !known.includes(key)) : kindOf(options);
  if (unknown === undefined) return options;
  throw new BlockscaleError("option", {
    where: `${where}: options`,
    expected: isObject ? `options named ${known.join(", ")}` : `an object such as { ${known[0]} }`,
    got: unknown,
    fix: isObject
      ? "Correct the name, or leave the option out."
      : "Put the value into an object, by the name of the option.",
  });
}

/**
 * Checks that an option is one of the words it can be.
 * @throws BlockscaleError `option`
 */
export function checkChoice<T extends string>(where: string, given: unknown, choices: readonly T[]): T {
  if (choices.includes(given as T)) return given as T;
  const quoted = choices.map((choice) => JSON.stringify(choice));
  throw new BlockscaleError("option", {
    where,
    expected: `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1)}`,
    got: JSON.stringify(given) ?? String(given),
    fix: "Pass one of these.",
  });
}

/**
 * Checks a number of threads.
 * @throws BlockscaleError `option`
 */
export function checkThreads(where: string, threads: number): number {
  if (Number.isInteger(threads) && threads >= 1 && threads <= 256) return threads;
  throw new BlockscaleError("option", {
    where: `${where}: threads`,
    expected: "a whole number from 1 to 256",
    got: String(threads),
    fix: "One per core is best: navigator.hardwareConcurrency.",
  });
}

/** The caller's array for the result, if the options of a method have one; `out` is all they may have. */
export function outOf<T>(where: string, options: { out?: T }): T | undefined {
  return checkKnown(where, options, ["out"]).out;
}
