/** Formats as the kernels number them: assembly/index.ts turns an id into a type. */
export const FORMAT_ID = { e4m3: 0, e5m2: 1, e2m1: 2 } as const;
export type FormatId = (typeof FORMAT_ID)[keyof typeof FORMAT_ID];

export const VALUE_TYPE_ID = { f32: 0, bf16: 1, f16: 2 } as const;
export type ValueTypeId = (typeof VALUE_TYPE_ID)[keyof typeof VALUE_TYPE_ID];

export const SCALE_TYPE_ID = { ue8m0: 0, f32: 1 } as const;
export type ScaleTypeId = (typeof SCALE_TYPE_ID)[keyof typeof SCALE_TYPE_ID];

/** The value of a UE8M0 byte: a power of two, or NaN. */
export function ue8m0Value(byte: number): number {
  return byte === 0xff ? Number.NaN : 2 ** (byte - 127);
}

export const ROUNDING_ID = { floor: 0, rceil: 1, ceil: 2, even: 3, evenFp4: 4 } as const;
export type RoundingId = (typeof ROUNDING_ID)[keyof typeof ROUNDING_ID];
