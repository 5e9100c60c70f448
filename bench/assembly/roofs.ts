/** The roofs that products are measured against: multiply-adds that wait for nothing, and reads that do nothing else. */

/**
 * `turns` times 14 multiplications and additions of four lanes, in chains that are independent and long enough in number:
 * fused if the build can; else seven chains of multiplications, twice a turn, beside seven of additions, so that no sum
 * waits for a product.
 */
export function peak(turns: i32, one: f32): f32 {
  const x = f32x4.splat(one);
  let a = x;
  let b = x;
  let c = x;
  let d = x;
  let e = x;
  let f = x;
  let g = x;
  let h = x;
  let i = x;
  let j = x;
  let k = x;
  let l = x;
  let m = x;
  let n = x;
  if (turns > 0)
    do {
      if (ASC_FEATURE_RELAXED_SIMD) {
        a = f32x4.relaxed_madd(a, x, x);
        b = f32x4.relaxed_madd(b, x, x);
        c = f32x4.relaxed_madd(c, x, x);
        d = f32x4.relaxed_madd(d, x, x);
        e = f32x4.relaxed_madd(e, x, x);
        f = f32x4.relaxed_madd(f, x, x);
        g = f32x4.relaxed_madd(g, x, x);
        h = f32x4.relaxed_madd(h, x, x);
        i = f32x4.relaxed_madd(i, x, x);
        j = f32x4.relaxed_madd(j, x, x);
        k = f32x4.relaxed_madd(k, x, x);
        l = f32x4.relaxed_madd(l, x, x);
        m = f32x4.relaxed_madd(m, x, x);
        n = f32x4.relaxed_madd(n, x, x);
      } else {
        a = f32x4.mul(f32x4.mul(a, x), x);
        h = f32x4.add(f32x4.add(h, x), x);
        b = f32x4.mul(f32x4.mul(b, x), x);
        i = f32x4.add(f32x4.add(i, x), x);
        c = f32x4.mul(f32x4.mul(c, x), x);
        j = f32x4.add(f32x4.add(j, x), x);
        d = f32x4.mul(f32x4.mul(d, x), x);
        k = f32x4.add(f32x4.add(k, x), x);
        e = f32x4.mul(f32x4.mul(e, x), x);
        l = f32x4.add(f32x4.add(l, x), x);
        f = f32x4.mul(f32x4.mul(f, x), x);
        m = f32x4.add(f32x4.add(m, x), x);
        g = f32x4.mul(f32x4.mul(g, x), x);
        n = f32x4.add(f32x4.add(n, x), x);
      }
    } while (--turns);
  const abcd = f32x4.add(f32x4.add(a, b), f32x4.add(c, d));
  const efgh = f32x4.add(f32x4.add(e, f), f32x4.add(g, h));
  const ijkl = f32x4.add(f32x4.add(i, j), f32x4.add(k, l));
  return f32x4.extract_lane(f32x4.add(f32x4.add(abcd, efgh), f32x4.add(ijkl, f32x4.add(m, n))), 0);
}

/** Reads bytes (a multiple of 128) in two streams, as the products do, and keeps their exclusive or. */
export function read(src: usize, bytes: usize): i32 {
  const middle = src + bytes / 2;
  let other = middle;
  let a = i32x4.splat(0);
  let b = a;
  let c = a;
  let d = a;
  if (src < middle)
    do {
      a = v128.xor(a, v128.load(src));
      b = v128.xor(b, v128.load(src, 16));
      c = v128.xor(c, v128.load(other));
      d = v128.xor(d, v128.load(other, 16));
      a = v128.xor(a, v128.load(src, 32));
      b = v128.xor(b, v128.load(src, 48));
      c = v128.xor(c, v128.load(other, 32));
      d = v128.xor(d, v128.load(other, 48));
      src += 64;
      other += 64;
    } while (src < middle);
  return i32x4.extract_lane(v128.xor(v128.xor(a, b), v128.xor(c, d)), 0);
}
