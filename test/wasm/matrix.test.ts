import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { MATRIX_BYTES, MATRIX_FIELDS, type Matrix, readMatrix, writeMatrix } from "../../src/wasm/matrix.ts";

test("the kernels and the engine describe a matrix by the same fields in the same order", () => {
  const source = readFileSync(new URL("../../assembly/kernels/matrix.ts", import.meta.url), "utf8");
  const body = source.slice(source.indexOf("class Matrix {"));
  const fields = [...body.matchAll(/^ {2}(\w+): (\w+) = 0;$/gm)];
  expect(fields.map(([, name]) => name)).toEqual([...MATRIX_FIELDS]);
  expect(new Set(fields.map(([, , type]) => type))).toEqual(new Set(["i32", "usize"]));
});

test("what was written is read, places beyond 2 GiB too", () => {
  const buffer = new ArrayBuffer(16 + MATRIX_BYTES);
  const values = MATRIX_FIELDS.map((_, i) => (i < 2 ? 1 : 2 ** 32 - 1 - i));
  const matrix = Object.fromEntries(MATRIX_FIELDS.map((name, i) => [name, values[i]])) as unknown as Matrix;
  writeMatrix(buffer, 16, matrix);
  expect(readMatrix(buffer, 16)).toEqual(matrix);
});
