import { join } from "node:path";
import { expect, test } from "vitest";
import { blockscale, temporaryFolder, writeModel } from "../support/cli-runner.ts";

const folder = temporaryFolder();

/**
 * Names of fields with their types, and of the fields in them; of a list, those of all its records together.
 */
function fieldsOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.length > 0 ? [value.map(fieldsOf).reduce(both)] : [];
  if (value === null) return null;
  if (typeof value !== "object") return typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, fieldsOf(field)]));
}

/** Of two records: what is null in one may be more in the other. */
function both(a: unknown, b: unknown): unknown {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return a ?? b;
  if (Array.isArray(a)) return a.length > 0 ? a : b;
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  const [first, second] = [a, b] as { [name: string]: unknown }[];
  return Object.fromEntries(
    [...names].map((name) => [name, both(first![name] ?? null, second![name] ?? null)]),
  );
}

const PRECISION = {
  sqnrDb: "number",
  maxRelativeError: "number",
  maxAbsoluteError: "number",
  maxErrorOfAmax: "number",
  amax: "number",
  saturated: "number",
  flushedToZero: "number",
  nonFinite: "number",
  values: "number",
};
const STORED = { dtype: "string", bytes: "number" };
const CONVERTED = {
  name: "string",
  shard: "number",
  action: "string",
  wasScaled: "boolean",
  reason: "string",
  shape: ["number"],
  before: STORED,
  after: STORED,
};
const TOTAL = {
  tensors: "number",
  converted: "number",
  bytesBefore: "number",
  values: "number",
  bytesAfter: "number",
};
const OTHER_FILES = { leftOut: [], unread: [] };
const CONVERSION = { ...OTHER_FILES, patterns: [] };

test("the fields that scripts rely on are there, and no others", async () => {
  const model = await writeModel(join(folder, "model"), 1, 64);
  const [fp8, plain] = [join(folder, "fp8"), join(folder, "plain")];
  const report = async (...args: string[]) => {
    const { code, out } = await blockscale(...args, "--json");
    expect(code).toBe(0);
    return fieldsOf(JSON.parse(out));
  };
  const places = { input: "string", output: "string", kind: "string" };
  const nothing = { ...CONVERTED, precision: null };
  expect(await report("quantize", model, fp8, "--dry-run")).toEqual({
    ...places,
    to: "string",
    dryRun: "boolean",
    files: [{ name: "string", bytes: "number" }],
    tensors: [nothing],
    total: { ...TOTAL, precision: null },
    warnings: ["string"],
    ...CONVERSION,
  });
  expect(await report("quantize", model, fp8)).toEqual({
    ...places,
    to: "string",
    tensors: [{ ...CONVERTED, precision: PRECISION }],
    total: { ...TOTAL, precision: PRECISION },
    warnings: ["string"],
    ...CONVERSION,
  });
  // Rounding to bfloat16 loses nothing here: null.
  const exact = { ...PRECISION, sqnrDb: null };
  expect(await report("dequantize", fp8, plain)).toEqual({
    ...places,
    dtype: "string",
    tensors: [{ ...CONVERTED, precision: exact }],
    total: { ...TOTAL, precision: exact },
    warnings: [],
    ...CONVERSION,
  });
  expect(await report("inspect", fp8)).toEqual({
    input: "string",
    ...OTHER_FILES,
    files: [{ name: "string", bytes: "number", tensors: "number" }],
    dialect: "string",
    metadata: { format: "string" },
    tensors: [
      {
        name: "string",
        shard: "string",
        dtype: "string",
        shape: ["number"],
        bytes: "number",
        scaled: {
          element: "string",
          block: ["number"],
          scales: "string",
          scaleDtype: "string",
          facts: {
            count: "number",
            minExponent: "number",
            maxExponent: "number",
            counts: ["number"],
            nonPowersOfTwo: "number",
          },
        },
      },
    ],
    warnings: [],
    bytesByDtype: { F8_E4M3: "number", BF16: "number", F32: "number" },
  });
  expect(await report("compare", model, fp8)).toEqual({
    a: "string",
    b: "string",
    tensors: [
      {
        name: "string",
        shape: ["number"],
        status: "string",
        precision: { ...PRECISION, cosine: "number" },
        worstBlock: { row: "number", col: "number", noiseToSignal: "number" },
      },
    ],
    total: { compared: "number", nonFinite: "number" },
  });
});
