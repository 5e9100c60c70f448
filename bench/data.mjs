// Seeded inputs. A tile of them is made and repeated: its 8 MiB are more than any first- or second-level cache holds.

const TILE = 1 << 21;

/** Uniform 32-bit words, by xorshift: the same in every run. */
function randomWords(seed, n) {
  const words = new Uint32Array(n);
  let x = seed | 1;
  for (let i = 0; i < n; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    words[i] = x;
  }
  return words;
}

function normalTile() {
  const words = randomWords(1, 2 * TILE);
  const tile = new Float32Array(TILE);
  for (let i = 0; i < TILE; i++) {
    const radius = Math.sqrt(-2 * Math.log((words[2 * i] + 1) / 2 ** 32));
    tile[i] = radius * Math.cos((2 * Math.PI * words[2 * i + 1]) / 2 ** 32);
  }
  return tile;
}

/** Normal values whose elements are, with 1 % probability, so small that their code is subnormal. */
function withSubnormals(tile) {
  const words = randomWords(2, TILE);
  return tile.map((x, i) => (words[i] % 100 === 0 ? x * 2 ** -14 : x));
}

/** Values of random codes, specials left out, with scales of 2^-8 to 2^7 by blocks of 32. */
function codeTile() {
  const bytes = new Uint8Array(randomWords(3, TILE / 4).buffer);
  const scales = randomWords(4, TILE / 32);
  return Float32Array.from({ length: TILE }, (_, i) => {
    const code = bytes[i];
    const magnitude = Math.min(code & 0x7f, 0x7e);
    const significand = magnitude < 8 ? magnitude / 8 : 1 + (magnitude & 7) / 8;
    const value = significand * 2 ** (Math.max(magnitude >> 3, 1) - 7 + (scales[i >> 5] >>> 28) - 8);
    return code & 0x80 ? -value : value;
  });
}

/** Elements are moved away from zero until no code of a 1x128 block can be subnormal. */
function withoutSubnormals(tile) {
  return tile.map((x) => (Math.abs(x) < 2 ** -9 ? 2 ** -9 : x));
}

const KINDS = {
  /** Weights and activations look like this. */
  normal: normalTile,
  /** All codes alike: the worst for predictors. */
  random: codeTile,
  clean: () => withoutSubnormals(normalTile()),
  subnormal: () => withSubnormals(withoutSubnormals(normalTile())),
};

const tiles = new Map();

/** n values of a kind, f32 or the upper halves of it as bf16 bits. */
export function values(kind, type, n) {
  if (!tiles.has(kind)) tiles.set(kind, KINDS[kind]());
  const tile = tiles.get(kind);
  if (type === "f32") return repeat(new Float32Array(n), tile);
  const words = new Uint32Array(tile.buffer, tile.byteOffset, TILE);
  return repeat(
    new Uint16Array(n),
    Uint16Array.from(words, (word) => word >>> 16),
  );
}

function repeat(out, tile) {
  for (let i = 0; i < out.length; i += tile.length) out.set(tile.subarray(0, out.length - i), i);
  return out;
}

/** Codes of E4M3 of which so many are subnormal: others become normal, and that share is strewn over them. */
export function codesWithSubnormals(codes, share) {
  const words = randomWords(6, codes.length);
  return codes.map((code, i) => {
    if (words[i] < share * 2 ** 32) return (code & 0x80) | (1 + (i % 7));
    return code & 0x78 ? code : code | 0x08;
  });
}

/** n codes and as many scale bytes as asked for, all equally likely but NaN; no product leaves the range of bfloat16. */
export function randomCodes(codes, scales) {
  const bytes = new Uint8Array(randomWords(5, TILE / 4).buffer).map((code) =>
    (code & 0x7f) === 0x7f ? 0 : code,
  );
  repeat(codes, bytes);
  repeat(
    scales,
    bytes.map((byte) => 112 + (byte & 15)),
  );
}
