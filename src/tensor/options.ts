import { isRecord, kindOf } from "./checks.ts";
import { BlockscaleError, shown } from "./errors.ts";

/**
 * Checks that the last argument of a function is an options object and that all names in it are known: a
 * misspelt option would be ignored without a word. Checks those that mean the same everywhere, too: `signal`
 * is an AbortSignal, and `onProgress` and all others that begin with `on` are functions.
 * @param known names of the options
 * @throws BlockscaleError `option`: an unknown name; no object, such as the array that belongs into { out };
 * or a signal or callback of another type
 */
export function checkKnown<T extends object>(where: string, options: T, known: readonly string[]): T {
  const isObject = isRecord(options);
  const unknown = isObject ? Object.keys(options).find((key) => !known.includes(key)) : kindOf(options);
  if (unknown === undefined) {
    for (const name in options) checkCommonOption(`${where}: ${name}`, name, options[name]);
    return options;
  }
  const names = known.length > 0 ? `options named ${known.join(", ")}` : "no options";
  throw new BlockscaleError("option", {
    where: `${where}: options`,
    expected: isObject ? names : `an object such as { ${known.join(", ")} }`,
    got: unknown,
    fix: isObject
      ? "Correct the name, or leave the option out."
      : "Put the value into an object, by the name of the option.",
  });
}

/**
 * Refuses an option that means something only beside another one: alone it would be ignored without a word.
 * @throws BlockscaleError `option`
 */
export function checkRequires<T extends object>(
  where: string,
  options: T,
  name: keyof T & string,
  other: keyof T & string,
): void {
  if (options[name] === undefined || options[other] !== undefined) return;
  throw new BlockscaleError("option", {
    where: `${where}: ${name}`,
    expected: `${other} beside it`,
    got: `${name} alone, which would do nothing`,
    fix: `Pass ${other} too, or leave ${name} out.`,
  });
}

/** Checks an option that means the same in every function, by its name. */
function checkCommonOption(where: string, name: string, value: unknown): void {
  if (value === undefined) return;
  if (name === "signal" && typeof (value as AbortSignal | null)?.throwIfAborted !== "function")
    throw wrongCommonOption(where, "an AbortSignal", value, "Pass the signal of an AbortController.");
  if (/^on[A-Z]/.test(name) && typeof value !== "function")
    throw wrongCommonOption(where, "a function", value, "Pass the function to call.");
}

function wrongCommonOption(where: string, expected: string, value: unknown, fix: string): BlockscaleError {
  return new BlockscaleError("option", { where, expected, got: kindOf(value), fix });
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
    got: shown(given),
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
export function outOption<T>(where: string, options: { out?: T }): T | undefined {
  return checkKnown(where, options, ["out"]).out;
}
