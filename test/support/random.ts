/** Seeded 32-bit patterns (mulberry32): the same in every run and on every machine. */
export function randomWords(seed: number, n: number): Uint32Array {
  const words = new Uint32Array(n);
  let state = seed | 0;
  for (let i = 0; i < n; i++) {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    words[i] = t ^ (t >>> 14);
  }
  return words;
}

/** Roughly normal values, as weights are: sums of twelve uniform ones. */
export function randomNormal(seed: number, n: number): Float32Array {
  const words = randomWords(seed, 3 * n);
  const bytes = new Uint8Array(words.buffer);
  return Float32Array.from({ length: n }, (_, i) => {
    let sum = 0;
    for (let k = 12 * i; k < 12 * i + 12; k++) sum += bytes[k] as number;
    return (sum - 12 * 127.5) / 256;
  });
}

/** Finite values of every magnitude, -0 and subnormals among them. */
export function randomFinite(seed: number, n: number): Float32Array {
  const words = randomWords(seed, n);
  // The largest exponent field is the one of Inf and NaN: it is made the one below.
  for (let i = 0; i < n; i++) {
    const bits = words[i] as number;
    if (((bits >>> 23) & 0xff) === 0xff) words[i] = bits ^ 0x00800000;
  }
  return new Float32Array(words.buffer);
}
