// One build written as pieces of another: the two differ in a few instructions, and a compressor sees no further back
// than 32 kB.

/** Bytes that two places must share to be looked at, and to be worth a copy. */
const KEY = 8;
const SHORTEST = 12;

/** How many bytes from `a` in source and `b` in target are equal. */
function runLength(source, a, target, b) {
  let n = 0;
  while (a + n < source.length && b + n < target.length && source[a + n] === target[b + n]) n++;
  return n;
}

/**
 * `target` as alternating literals and copies from `source`.
 * @returns steps, three numbers each: bytes to take from `literals`, then bytes of `source` to skip, and to copy
 */
export function deltaOf(source, target) {
  const key = (bytes, at) => bytes.toString("latin1", at, at + KEY);
  const places = new Map();
  for (let i = 0; i + KEY <= source.length; i++) {
    const found = places.get(key(source, i)) ?? [];
    if (found.length === 0) places.set(key(source, i), found);
    found.push(i);
  }
  const literals = [];
  const steps = [];
  let taken = 0;
  let behind = 0;
  for (let at = 0; at < target.length; ) {
    let [from, length] = [0, 0];
    for (const place of places.get(key(target, at)) ?? []) {
      const n = runLength(source, place, target, at);
      if (n > length) [from, length] = [place, n];
    }
    if (length < SHORTEST) {
      literals.push(target[at++]);
      continue;
    }
    steps.push(literals.length - taken, from - behind, length);
    taken = literals.length;
    behind = from + length;
    at += length;
  }
  steps.push(literals.length - taken, 0, 0);
  return { literals: Buffer.from(literals), steps };
}
