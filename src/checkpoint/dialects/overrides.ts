import { isRecord, kindOf } from "../../tensor/checks.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { checkScheme, type Scheme } from "../../tensor/schemes.ts";
import type { Dialect, WeightStorage } from "./dialect.ts";
import { matcher } from "./rules.ts";

/**
 * An exception for the weights of a pattern: keep them, store them in another format of the dialect, by
 * its name, or change fields of the scheme.
 */
export interface Override {
  readonly pattern: string;
  /** "keep", the name of a format, or fields of a scheme. */
  readonly scheme: string | Partial<Pick<Scheme, "rounding" | "amaxFloor" | "zeroScale">>;
}

const FIX = 'Write overrides as [{ "pattern": "*.down_proj.weight", "scheme": "keep" }].';

const FIX_FIELD =
  'Correct the value, as in { "pattern": "*.down_proj.weight", "scheme": { "rounding": "floor" } }.';

/** The JSON text of a file of overrides. @throws BlockscaleError `option`: no JSON, or no list */
export function parseOverrides(where: string, text: string): Override[] {
  try {
    const overrides: unknown = JSON.parse(text);
    if (Array.isArray(overrides)) return overrides;
    throw new Error(overrides === null ? "null" : `a value of type ${typeof overrides}`);
  } catch (cause) {
    throw new BlockscaleError("option", {
      where,
      expected: "a JSON list of overrides",
      got: (cause as Error).message,
      fix: FIX,
    });
  }
}

/**
 * Fields that every reader of a dialect takes as they come: block,
 * format and scale type are the dialect's own.
 */
const FREE_FIELDS = ["rounding", "amaxFloor", "zeroScale"];

/**
 * Returns a function that tells how a weight is stored, given its name and its storage without overrides.
 * @param dialect what overrides may choose from
 * @throws BlockscaleError `option`: an unknown field or format, a pattern that
 * does not compile, a value no scheme can have
 */
export function compileOverrides(
  overrides: readonly Override[],
  { name: dialect, formats = {}, storage }: Pick<Dialect, "name" | "formats" | "storage">,
): (name: string, storage: WeightStorage) => WeightStorage | "keep" {
  if (!Array.isArray(overrides)) {
    throw new BlockscaleError("option", {
      where: "overrides",
      expected: "a list of overrides",
      got: kindOf(overrides),
      fix: FIX,
    });
  }
  const compiled = overrides.map((override: Override, i) => {
    const { pattern, scheme } = override ?? {};
    const isName = typeof scheme === "string";
    const fields = isRecord(scheme) ? Object.keys(scheme as object) : [];
    const unknown =
      fields.find((field) => !FREE_FIELDS.includes(field)) ??
      Object.keys(override ?? {}).find((member) => member !== "pattern" && member !== "scheme");
    if (typeof pattern !== "string" || (!isName && fields.length === 0) || unknown !== undefined) {
      throw new BlockscaleError("option", {
        where: typeof pattern === "string" ? `override of ${JSON.stringify(pattern)}` : `overrides[${i}]`,
        expected: `a pattern, and as its scheme "keep" or some of ${FREE_FIELDS.join(", ")}`,
        got: unknown ?? JSON.stringify(override),
        fix: FIX,
      });
    }
    if (isName && scheme !== "keep" && !Object.hasOwn(formats, scheme))
      throw unknownFormat(pattern, scheme, dialect, Object.keys(formats));
    // The fields that may change mean the same in every scheme.
    if (!isName)
      checkScheme(`override of ${JSON.stringify(pattern)}`, { ...storage.scheme, ...scheme }, FIX_FIELD);
    return { fits: matcher(pattern), scheme };
  });
  return (name, base) => {
    const found = compiled.find(({ fits }) => fits(name))?.scheme;
    if (found === undefined) return base;
    if (typeof found === "string") return found === "keep" ? found : formats[found]!;
    return { ...base, scheme: { ...base.scheme, ...found } };
  };
}

function unknownFormat(
  pattern: string,
  format: string,
  dialect: string,
  formats: readonly string[],
): BlockscaleError {
  return new BlockscaleError("option", {
    where: `override of ${JSON.stringify(pattern)}`,
    expected: formats.length > 0 ? `"keep", ${formats.join(", ")}` : `"keep": ${dialect} stores one format`,
    got: JSON.stringify(format),
    fix:
      formats.length > 0
        ? "Choose one of these."
        : "Write a dialect that stores several: --to compressed-tensors-mixed.",
  });
}
