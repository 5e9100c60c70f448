/** What no kernel can beat: memory.copy, and loops that move the same bytes with the same loads and stores and no arithmetic. */

export function copy(dst: usize, src: usize, bytes: usize): void {
  memory.copy(dst, src, bytes);
}

/** dst[4n] <- src[n] bytes, as dequantising to float32 does. */
export function widen4(dst: usize, src: usize, n: usize): void {
  for (const end = src + n; src < end; src += 16) {
    const x = v128.load(src);
    v128.store(dst, x);
    v128.store(dst, x, 16);
    v128.store(dst, x, 32);
    v128.store(dst, x, 48);
    dst += 64;
  }
}

/** dst[2n] <- src[n] bytes, as dequantising to bfloat16 does. */
export function widen2(dst: usize, src: usize, n: usize): void {
  for (const end = src + n; src < end; src += 16) {
    const x = v128.load(src);
    v128.store(dst, x);
    v128.store(dst, x, 16);
    dst += 32;
  }
}

/** dst[n] <- src[4n] bytes, as quantising float32 does; `or` so that every load is needed. */
export function narrow4(dst: usize, src: usize, n: usize): void {
  for (const end = dst + n; dst < end; dst += 16) {
    const ab = v128.or(v128.load(src), v128.load(src, 16));
    const cd = v128.or(v128.load(src, 32), v128.load(src, 48));
    v128.store(dst, v128.or(ab, cd));
    src += 64;
  }
}

/** dst[n] <- src[2n] bytes, as quantising bfloat16 does. */
export function narrow2(dst: usize, src: usize, n: usize): void {
  for (const end = dst + n; dst < end; dst += 16) {
    v128.store(dst, v128.or(v128.load(src), v128.load(src, 16)));
    src += 32;
  }
}
