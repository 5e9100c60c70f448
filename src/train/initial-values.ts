/**
 * Word n of a stream of random 32-bit words, for initial values only: stochastic rounding draws from Philox,
 * see assembly/lanes/random.ts. It depends on seed, stream and n alone, so that neither the
 * order nor the number of threads makes a difference. The mixing function is the finaliser of MurmurHash3:
 * that of SplitMix64 would need BigInt.
 */
export function wordAt(seed: number, stream: number, n: number): number {
  let h = mix(seed ^ Math.imul(stream + 1, 0x9e3779b9));
  h = mix(h ^ n);
  return mix(h + Math.imul(Math.floor(n / 2 ** 32) + 1, 0x85ebca6b)) >>> 0;
}

function mix(word: number): number {
  let h = word | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** Fills values with normally distributed numbers of a standard deviation, by the Box-Muller transform. */
export function normalValues(values: Float32Array, deviation: number, seed: number, stream: number): void {
  for (let i = 0; i < values.length; i += 2) {
    const u = (wordAt(seed, stream, i) + 1) / 2 ** 32;
    const angle = (2 * Math.PI * wordAt(seed, stream, i + 1)) / 2 ** 32;
    const radius = deviation * Math.sqrt(-2 * Math.log(u));
    values[i] = radius * Math.cos(angle);
    if (i + 1 < values.length) values[i + 1] = radius * Math.sin(angle);
  }
}
