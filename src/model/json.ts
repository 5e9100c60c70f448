import { readText, type Source } from "../io/source.ts";
import { BlockscaleError } from "../tensor/errors.ts";

/** An object of config.json. */
export type Json = { readonly [key: string]: unknown };

/** The largest size that a config may name: products of two of them are still exact. */
const MOST_SIZE = 2 ** 26;

/**
 * A whole number of config.json, 0 or more.
 * @throws BlockscaleError `dialect`: it is missing, or no size
 */
export function sizeOf(where: string, config: Json, key: string): number {
  const value = optionalSize(where, config, key);
  if (value !== undefined) return value;
  throw wrongField(where, key, "a whole number", "none");
}

/** A size that may be left out, or null. */
export function optionalSize(where: string, config: Json, key: string): number | undefined {
  const value = config[key];
  if (value === undefined || value === null) return undefined;
  if (Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= MOST_SIZE)
    return value as number;
  throw wrongField(where, key, `a whole number from 0 to ${MOST_SIZE}`, JSON.stringify(value));
}

/** A finite number of config.json. */
export function numberOf(where: string, config: Json, key: string): number {
  const value = optionalNumber(where, config, key);
  if (value !== undefined) return value;
  throw wrongField(where, key, "a number", "none");
}

export function optionalNumber(where: string, config: Json, key: string): number | undefined {
  const value = config[key];
  if (value === undefined || value === null) return undefined;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw wrongField(where, key, "a finite number", JSON.stringify(value));
}

export function wrongField(where: string, key: string, expected: string, got: string): BlockscaleError {
  return new BlockscaleError("dialect", {
    where: `${where}: ${key}`,
    expected,
    got,
    fix: "Correct the file, or fetch it again.",
  });
}

/**
 * Reads a small file of JSON.
 * @throws BlockscaleError `format`: it is damaged; `io`
 */
export async function readJson(name: string, source: Source): Promise<unknown> {
  const text = await readText(name, source);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new BlockscaleError(
      "format",
      { where: name, expected: "JSON", got: (cause as Error).message, fix: "Fetch the file again." },
      { cause },
    );
  }
}
