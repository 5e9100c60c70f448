import { Simd } from "../../lanes/simd";

/** dst[cols, rows] <- src[rows, cols], whose rows are `stride` values apart: turned, in tiles of 4x4. */
export function transpose(dst: usize, src: usize, rows: usize, cols: usize, stride: usize): void {
  const wide = cols & ~3;
  let row: usize = 0;
  for (; row + 4 <= rows; row += 4) {
    const at = src + 4 * row * stride;
    let out = dst + 4 * row;
    for (let col: usize = 0; col < wide; col += 4) {
      const p = at + 4 * col;
      const a = v128.load(p);
      const b = v128.load(p + 4 * stride);
      const c = v128.load(p + 8 * stride);
      const d = v128.load(p + 12 * stride);
      const low01 = Simd.zip32Low(a, b);
      const low23 = Simd.zip32Low(c, d);
      const high01 = Simd.zip32High(a, b);
      const high23 = Simd.zip32High(c, d);
      v128.store(out, Simd.lowHalves(low01, low23));
      v128.store(out + 4 * rows, Simd.highHalves(low01, low23));
      v128.store(out + 8 * rows, Simd.lowHalves(high01, high23));
      v128.store(out + 12 * rows, Simd.highHalves(high01, high23));
      out += 16 * rows;
    }
    for (let col = wide; col < cols; col++)
      for (let i: usize = 0; i < 4; i++)
        store<f32>(dst + 4 * (col * rows + row + i), load<f32>(at + 4 * (i * stride + col)));
  }
  for (; row < rows; row++)
    for (let col: usize = 0; col < cols; col++)
      store<f32>(dst + 4 * (col * rows + row), load<f32>(src + 4 * (row * stride + col)));
}
