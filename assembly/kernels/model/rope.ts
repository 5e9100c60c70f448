/**
 * Rotates, in place, pairs of the first `dim` values of each head of x by the angles of their token: (a, b)
 * becomes (a cos - b sin, b cos + a sin). x is [tokens] rows `tokenStride` bytes apart with heads
 * `headStride` apart; cos and sin are [tokens, dim / 2]. Pairs are values i and i + dim / 2, or neighbours if
 * `isInterleaved`. dim is a multiple of 8, or of 4 if interleaved.
 */
export function rope(
  x: usize,
  tokens: usize,
  tokenStride: usize,
  heads: usize,
  headStride: usize,
  dim: usize,
  cos: usize,
  sin: usize,
  isInterleaved: i32,
): void {
  const half = dim << 1;
  for (; tokens; tokens--) {
    let head = x;
    for (let h: usize = 0; h < heads; h++) {
      if (isInterleaved) rotateNeighbours(head, dim, cos, sin);
      else rotateHalves(head, half, cos, sin);
      head += headStride;
    }
    x += tokenStride;
    cos += half;
    sin += half;
  }
}

function rotateHalves(x: usize, bytes: usize, cos: usize, sin: usize): void {
  const end = x + bytes;
  for (; x < end; x += 16, cos += 16, sin += 16) {
    const a = v128.load(x);
    const b = v128.load(x + bytes);
    const c = v128.load(cos);
    const s = v128.load(sin);
    v128.store(x, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
    v128.store(x + bytes, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)));
  }
}

function rotateNeighbours(x: usize, dim: usize, cos: usize, sin: usize): void {
  const end = x + 4 * dim;
  for (; x < end; x += 8, cos += 4, sin += 4) {
    const a = load<f32>(x);
    const b = load<f32>(x, 4);
    const c = load<f32>(cos);
    const s = load<f32>(sin);
    store<f32>(x, a * c - b * s);
    store<f32>(x, b * c + a * s, 4);
  }
}
