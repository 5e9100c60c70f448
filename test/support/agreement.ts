import { describe, test } from "vitest";
import type { Scheme } from "../../src/tensor/schemes.ts";
import type { BlockScaled, Values, ValueType } from "../../src/tensor/tensor.ts";
import { reference } from "../reference/engine.ts";
import { type Cause, expectSameBits, expectSameValues } from "./bits.ts";
import { ENGINES } from "./engines.ts";
import { once } from "./once.ts";

/** A tensor to quantise. */
export interface QuantizeCase {
  readonly name: string;
  readonly scheme: Scheme;
  readonly shape: readonly number[];
  readonly values: () => Values;
}

/** A tensor to dequantise, to every type named. */
export interface DequantizeCase {
  readonly name: string;
  readonly tensor: () => BlockScaled;
  readonly types: readonly ValueType[];
}

export const VALUE_TYPES: readonly ValueType[] = ["f32", "bf16", "f16"];

function place(shape: readonly number[]): Cause {
  const cols = shape.at(-1) ?? 1;
  return (i) => `(row ${Math.floor(i / cols)}, column ${i % cols})`;
}

/** Throws where codes or scales differ. */
export function expectSameTensor(got: BlockScaled, want: BlockScaled): void {
  if (want.scales instanceof Float32Array) {
    expectSameValues(got.scales as Float32Array, want.scales, "f32", (i) => `(scale of block ${i})`);
  } else {
    expectSameBits(got.scales as Uint8Array, want.scales, (i) => `(scale of block ${i})`);
  }
  expectSameBits(got.codes, want.codes, place(want.shape));
}

/** Declares a test per case and engine: the engine quantises it to the same bits as the definitions. */
export function describeQuantize(cases: readonly QuantizeCase[]): void {
  const wanted = cases.map(({ values, shape, scheme }) =>
    once(() => reference.quantize(values(), shape, scheme)),
  );
  describe.each(ENGINES)("%s quantises", async (_, make) => {
    const fp8 = await make();
    test.each(cases.map((c, i) => [c.name, c, wanted[i] as () => BlockScaled] as const))(
      "%s",
      (_, c, want) => {
        expectSameTensor(fp8.quantize(c.values(), c.shape, c.scheme), want());
      },
    );
  });
}

/**
 * Declares a test per case, type and engine: the engine dequantises it to the same bits as the definitions.
 */
export function describeDequantize(cases: readonly DequantizeCase[]): void {
  const each = cases.flatMap(({ name, tensor, types }) =>
    types.map((type) => {
      const want = once(() => reference.dequantize(tensor(), type));
      return [`${name} to ${type}`, tensor, type, want] as const;
    }),
  );
  describe.each(ENGINES)("%s dequantises", async (_, make) => {
    const fp8 = await make();
    test.each(each)("%s", (_, tensor, type, want) => {
      expectSameValues(fp8.dequantize(tensor(), type), want(), type, place(tensor().shape));
    });
  });
}
