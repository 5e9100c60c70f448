/** Rows of dst, which are `stride` values apart, += src[rows, cols]. */
export function addRows(dst: usize, src: usize, rows: usize, cols: usize, stride: usize): void {
  const wide = cols & ~3;
  for (; rows; rows--, dst += 4 * stride, src += 4 * cols) {
    for (let i: usize = 0; i < wide; i += 4)
      v128.store(dst + 4 * i, f32x4.add(v128.load(dst + 4 * i), v128.load(src + 4 * i)));
    for (let i = wide; i < cols; i++)
      store<f32>(dst + 4 * i, load<f32>(dst + 4 * i) + load<f32>(src + 4 * i));
  }
}
