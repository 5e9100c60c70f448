/**
 * The largest difference, in units of the largest expected magnitude; Infinity where lengths differ, or NaN
 * is where none was expected, or the other way round.
 */
export function largestDifference(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (found.length !== expected.length) return Infinity;
  let most = 0;
  let size = 0;
  for (let i = 0; i < expected.length; i++) {
    if (Number.isNaN(found[i]!) !== Number.isNaN(expected[i]!)) return Infinity;
    most = Math.max(most, Math.abs(found[i]! - expected[i]!));
    size = Math.max(size, Math.abs(expected[i]!));
  }
  return most / (size || 1);
}
