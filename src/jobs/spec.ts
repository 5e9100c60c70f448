import { createHash } from "node:crypto";
import type { OutputText } from "../checkpoint/dialects/index.ts";
import { dialects } from "../checkpoint/dialects/index.ts";
import {
  type Direction,
  documentsOf,
  type OpenedCheckpoint,
  openCheckpoint,
} from "../checkpoint/plan/folder.ts";
import type { Plan } from "../checkpoint/plan/plan.ts";
import type { Source } from "../io/source.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { ValueType } from "../tensor/tensor.ts";
import { type ConversionSettings, identityOf, planOf } from "./conversion.ts";

/**
 * The conversion that several machines do together. All of them need the same record: it is kept beside the
 * output and in jobs. A plain record.
 */
export interface ConversionSpec extends ConversionSettings {
  readonly format: 1;
  /** Version of this package. */
  readonly version: string;
  /** Path or address of the input, the same on every machine. */
  readonly from: string;
  /** SHA-256 of version, task, input and plan: see {@link planShared}. */
  readonly fingerprint: string;
}

/** A conversion that has been planned for several machines. */
export interface SharedPlan {
  readonly spec: ConversionSpec;
  readonly files: ReadonlyMap<string, Source>;
  readonly opened: OpenedCheckpoint;
  readonly plan: Plan;
  readonly documents: readonly OutputText[];
}

/**
 * Plans a conversion and computes its fingerprint. Another version of this package, other options, a changed
 * input or another plan give another fingerprint.
 * @throws BlockscaleError `option`, `dialect`, `format` or `io`
 */
export async function planShared(
  { from, version, direction, options }: Omit<ConversionSpec, "format" | "fingerprint">,
  files: ReadonlyMap<string, Source>,
): Promise<SharedPlan> {
  const opened = await openCheckpoint(files, from);
  const plan = planOf({ direction, options }, opened);
  const documents = documentsOf(opened, plan, direction);
  const hash = createHash("sha256");
  const add = (value: unknown): void => {
    hash.update(`${JSON.stringify(value)}\n`);
  };
  add([version, direction, options, identityOf(files), documents, opened.others]);
  for (const { name, size, header, steps } of plan.files) {
    add([name, size, steps]);
    hash.update(header);
  }
  const fingerprint = hash.digest("hex");
  return {
    spec: { format: 1, version, from, direction, options, fingerprint },
    files,
    opened,
    plan,
    documents,
  };
}

export const LONGEST_PATH = 4096;
const MOST_PATTERNS = 10_000;
const LONGEST_PATTERN = 500;

/**
 * Checks a record that another machine, or somebody else, has written.
 * @throws BlockscaleError `format`
 */
export function checkConversion(where: string, value: unknown): ConversionSpec {
  const refuse = (expected: string): never => refuseRecord(where, expected, value);
  if (!hasKeys(value, ["format", "version", "from", "direction", "options", "fingerprint"]))
    return refuse("a record of a run");
  const { format, version, from, direction, options, fingerprint } = value;
  if (format !== 1) refuse("format 1");
  if (!isText(version, 100)) refuse("a version");
  if (!isText(from, LONGEST_PATH) || from === "") refuse("the place of an input");
  if (!isText(fingerprint, 64) || !/^[0-9a-f]{64}$/.test(fingerprint)) refuse("a fingerprint");
  if (!isDirection(direction)) refuse("a known direction");
  if (!areOptions(options, direction as Direction)) refuse("known options");
  return value as unknown as ConversionSpec;
}

/** @throws BlockscaleError `format` */
export function refuseRecord(
  where: string,
  expected: string,
  value: unknown,
  fix = "It was not written by this version of blockscale, or is damaged: begin the run anew.",
): never {
  const text = `${JSON.stringify(value)}`;
  const got = text.length > 200 ? `${text.slice(0, 200)}...` : text;
  throw new BlockscaleError("format", { where, expected, got, fix });
}

type Fields = { readonly [key: string]: unknown };

function isRecord(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether a value is a record with exactly these keys. */
export function hasKeys(value: unknown, keys: readonly string[]): value is Fields {
  return isRecord(value) && String(Object.keys(value).sort()) === String([...keys].sort());
}

/** What a text of JSON says; `undefined` where it is none. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export function isText(value: unknown, longest: number): value is string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return typeof value === "string" && value.length <= longest && !/[\u0000-\u001f\u007f]/.test(value);
}

function isDirection(value: unknown): value is Direction {
  if (hasKeys(value, ["kind", "to"])) {
    return value.kind === "quantize" && isText(value.to, 100) && Object.hasOwn(dialects, value.to);
  }
  return (
    hasKeys(value, ["kind", "dtype"]) &&
    value.kind === "dequantize" &&
    ["bf16", "f16", "f32"].includes(value.dtype as ValueType)
  );
}

function isOverride(value: unknown): boolean {
  return (
    hasKeys(value, ["pattern", "scheme"]) &&
    isText(value.pattern, LONGEST_PATTERN) &&
    (isText(value.scheme, 100) || (isRecord(value.scheme) && JSON.stringify(value.scheme).length <= 100))
  );
}

/** Checks that options are small and of the right types. The planner checks their values. */
function areOptions(options: unknown, direction: Direction): boolean {
  if (!isRecord(options)) return false;
  const { also, include, only, exclude, missingScale, overrides, to, dtype, ...others } = options;
  const patterns = (value: unknown): boolean =>
    value === undefined ||
    (Array.isArray(value) &&
      value.length <= MOST_PATTERNS &&
      value.every((pattern) => isText(pattern, LONGEST_PATTERN)));
  const isSame = direction.kind === "quantize" ? to === direction.to : dtype === direction.dtype;
  return (
    isSame &&
    Object.keys(others).length === 0 &&
    [also, include, only, exclude].every(patterns) &&
    (missingScale === "error" || missingScale === "one") &&
    (overrides === undefined ||
      (Array.isArray(overrides) && overrides.length <= MOST_PATTERNS && overrides.every(isOverride)))
  );
}
