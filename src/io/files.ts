import { kindOf } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { Source } from "./source.ts";

/** Whether a value is a Map, also one of another realm. */
export function isMap(value: unknown): value is ReadonlyMap<unknown, unknown> {
  return value instanceof Map || Object.prototype.toString.call(value) === "[object Map]";
}

/**
 * Refuses anything but a Map of sources by name.
 * @throws BlockscaleError `option`
 */
export function checkFiles(where: string, files: unknown): ReadonlyMap<string, Source> {
  const wrong = isMap(files) ? [...files].find((entry) => !isEntry(entry)) : undefined;
  if (isMap(files) && wrong === undefined) return files as ReadonlyMap<string, Source>;
  throw new BlockscaleError("option", {
    where,
    expected: "a Map of sources by name, such as new Map([[file.name, file]])",
    got: wrong === undefined ? kindOf(files) : `an entry ${nameOf(wrong[0])} of ${kindOf(wrong[1])}`,
    fix: "A source is a Blob, a File, what openFile or openUrl gives, or any { size, slice(start, end) }; in Node openFolder(path) makes the Map.",
  });
}

function nameOf(name: unknown): string {
  return typeof name === "string" ? JSON.stringify(name) : `named by ${kindOf(name)}`;
}

function isEntry([name, source]: readonly [unknown, unknown]): boolean {
  const { size, slice } = (source ?? {}) as Partial<Source>;
  // Typed arrays and strings have a slice as well, and no size.
  return typeof name === "string" && Number.isSafeInteger(size) && typeof slice === "function";
}
