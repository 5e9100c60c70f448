/** Bits of one element, by the name a safetensors header uses. Names are case-sensitive. */
export const DTYPE_BITS = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

/** An element type of the safetensors format. */
export type Dtype = keyof typeof DTYPE_BITS;

/** Whether the format knows an element type of this name. */
export function isDtype(name: string): name is Dtype {
  return Object.hasOwn(DTYPE_BITS, name);
}

/**
 * Bytes of a tensor, or `null` where its bits are no whole number of bytes or a product on the way passes
 * 2^64: the reference reader multiplies from the left in 64 bits and refuses to overflow even where a
 * later size is 0.
 */
export function byteLength(dtype: Dtype, shape: readonly number[]): number | null {
  const usual = shape.reduce((n, size) => n * size, DTYPE_BITS[dtype]);
  // Below 2^53 nothing was rounded; a 0 may hide a product that overflowed before it.
  if (usual > 0 && usual < 2 ** 53) return usual % 8 === 0 ? usual / 8 : null;
  let bits = 1n;
  for (const size of shape) {
    bits *= BigInt(size);
    if (bits >= 1n << 64n) return null;
  }
  bits *= BigInt(DTYPE_BITS[dtype]);
  if (bits >= 1n << 64n || bits % 8n !== 0n) return null;
  return Number(bits / 8n);
}
