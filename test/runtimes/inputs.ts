/**
 * Seeded inputs, the same bits in every runtime: integer arithmetic only, since Math.log and its kind may
 * differ in the last bit from engine to engine.
 */

/** 32 random bits at a time (Marsaglia's xorshift). */
export function random(seed: number): () => number {
  let x = seed | 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

export function floatsOf(bits: Uint32Array): Float32Array<ArrayBuffer> {
  return new Float32Array(bits.buffer as ArrayBuffer, bits.byteOffset, bits.length);
}

/**
 * Every upper half of a float32 with the lower halves around a tie: all
 * exponents, all ties, and their neighbours.
 */
export function everyTie(): Float32Array {
  const lower = [0x0000, 0x0001, 0xffff];
  const bits = new Uint32Array(3 * 65536);
  for (let i = 0; i < bits.length; i++) bits[i] = (Math.floor(i / 3) << 16) | lower[i % 3]!;
  return floatsOf(bits);
}

/** Where the specials of a tensor are put: a block each, as far as blocks are narrow. */
const SPECIALS: readonly number[] = [
  0x7fc00000, 0x7f800000, 0xff800000, 0x80000000, 0x00000001, 0x007fffff, 0x7f7f0000, 0x00800000, 0x43e00000,
  0x43e10000, 0x3fe00000, 0x80010000,
];

/**
 * float32 bits like those of weights: magnitudes within a few powers of two, an outlier now and then, some
 * rows of tiny values, runs of zeros; at the end specials, far enough from one another to spoil few blocks.
 */
export function weightBits(seed: number, n: number): Uint32Array {
  const next = random(seed);
  const bits = new Uint32Array(n);
  for (let i = 0; i < n; i++) {
    const r = next();
    const far = (r & 0x3ff) === 0 ? 12 : 0;
    const level = (i >>> 11) % 7 === 3 ? 6 : 118;
    const exponent = level + far + ((r >>> 10) & 3);
    const isZero = (i >>> 7) % 13 === 5;
    bits[i] = isZero ? (r & 1) << 31 : (((r >>> 12) & 1) << 31) | (exponent << 23) | (next() >>> 9);
  }
  SPECIALS.forEach((special, i) => {
    bits[n - 1 - 331 * i] = special;
  });
  return bits;
}

/** float32 bits of normal values within eight powers of two, without specials. */
export function plainBits(seed: number, n: number): Uint32Array {
  const next = random(seed);
  return Uint32Array.from({ length: n }, () => {
    const r = next();
    return ((r & 1) << 31) | ((120 + ((r >>> 1) & 7)) << 23) | (r >>> 9);
  });
}

/** The upper halves: bfloat16 bits. */
export function bf16Bits(bits: Uint32Array): Uint16Array {
  return Uint16Array.from(bits, (b) => b >>> 16);
}

/** Half-precision bits with the sign, mantissa and lower exponent of float32 bits, and the same specials. */
export function f16Bits(bits: Uint32Array): Uint16Array {
  return Uint16Array.from(bits, (b) => {
    const exponent = (b >>> 23) & 0xff;
    const half = exponent === 0xff ? 0x1f : exponent === 0 ? 0 : exponent & 0x0f;
    return ((b >>> 16) & 0x8000) | (half << 10) | ((b >>> 13) & 0x3ff);
  });
}
