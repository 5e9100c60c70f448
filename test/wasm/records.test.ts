import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ATTENTION_CALL, ROPE_CALL, ROUTING_CALL } from "../../src/model/calls.ts";
import { CALL_BYTES } from "../../src/model/program.ts";
import { ADAMW_CALL, PRODUCT_CALL, RANDOM_STREAM, ROUNDING_CALL } from "../../src/train/calls.ts";
import { MATRIX, type MatrixRecord, readMatrix } from "../../src/wasm/matrix.ts";
import { RecordLayout } from "../../src/wasm/record.ts";

/** The type of each field of a class of assembly/kernels/, in their order. */
function fieldsOf(file: string, name: string): [name: string, type: string][] {
  const source = readFileSync(new URL(`../../assembly/kernels/${file}`, import.meta.url), "utf8");
  const body = source.slice(source.indexOf(`class ${name} {`));
  return [...body.slice(0, body.search(/^}/m)).matchAll(/^ {2}(\w+): (\w+) = 0;$/gm)].map(
    ([, field, type]) => [field!, type!],
  );
}

test.each([
  ["MatrixRecord", "matrix.ts", MATRIX],
  ["AttentionCall", "model/attention-call.ts", ATTENTION_CALL],
  ["RopeCall", "model/rope.ts", ROPE_CALL],
  ["RoutingCall", "model/routing.ts", ROUTING_CALL],
  ["ProductCall", "train/multiply.ts", PRODUCT_CALL],
  ["RoundingCall", "train/round.ts", ROUNDING_CALL],
  ["AdamwCall", "train/optimizer.ts", ADAMW_CALL],
  ["RandomStream", "train/stochastic.ts", RANDOM_STREAM],
] as const)("host and kernels have the same fields of %s in the same order", (name, file, layout) => {
  const fields = fieldsOf(file, name);
  expect(fields.map(([field]) => field)).toEqual([...layout.fields]);
  for (const [field, type] of fields)
    expect([field, type === "f32"]).toEqual([field, layout.floats.includes(field as never)]);
  expect(fields.every(([, type]) => ["i32", "u32", "usize", "f32"].includes(type))).toBe(true);
  expect(layout.bytes).toBeLessThanOrEqual(CALL_BYTES);
});

test("what was written is read, places beyond 2 GiB too", () => {
  const buffer = new ArrayBuffer(16 + MATRIX.bytes);
  const values = MATRIX.fields.map((_, i) => (i < 2 ? 1 : 2 ** 32 - 1 - i));
  const matrix = Object.fromEntries(MATRIX.fields.map((name, i) => [name, values[i]]));
  MATRIX.write(buffer, 16, matrix as unknown as MatrixRecord);
  expect(readMatrix(buffer, 16)).toEqual(matrix);
});

test("float32 fields are written as float32, the others as whole numbers", () => {
  const buffer = new ArrayBuffer(12);
  const layout = new RecordLayout<{ readonly a: number; readonly b: number; readonly c: number }>({
    a: "u32",
    b: "f32",
    c: "u32",
  });
  layout.write(buffer, 0, { c: 2 ** 32 - 1, b: -0.1, a: 3 });
  expect([...new Uint32Array(buffer)]).toEqual([3, 0xbdcccccd, 2 ** 32 - 1]);
});
