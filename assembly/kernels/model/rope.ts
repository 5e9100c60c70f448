/** The arguments of `rope`: a RopeCall of src/model/calls.ts, which says what they mean. */
@unmanaged
export class RopeCall {
  x: usize = 0;
  tokens: usize = 0;
  tokenStride: usize = 0;
  heads: usize = 0;
  headStride: usize = 0;
  dim: usize = 0;
  cos: usize = 0;
  sin: usize = 0;
  isInterleaved: u32 = 0;
}

/**
 * Rotates, in place, pairs of the first `dim` values of each head of x by the angles of their token: (a, b)
 * becomes (a cos - b sin, b cos + a sin). dim is a multiple of 8, or of 4 if interleaved.
 */
export function rope(call: RopeCall): void {
  const half = call.dim << 1;
  let x = call.x;
  let cos = call.cos;
  let sin = call.sin;
  for (let token: usize = 0; token < call.tokens; token++) {
    let head = x;
    for (let h: usize = 0; h < call.heads; h++) {
      if (call.isInterleaved) rotateNeighbours(head, call.dim, cos, sin);
      else rotateHalves(head, half, cos, sin);
      head += call.headStride;
    }
    x += call.tokenStride;
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
