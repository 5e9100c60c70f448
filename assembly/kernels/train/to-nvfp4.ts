import { E2M1, E4M3, Format } from "../../lanes/format";
import { decode } from "../casts/dequantize";
import { encode } from "../casts/encode";
import { RandomStream, roundStochastic } from "./stochastic";

/**
 * dst[rows, cols] <- src rounded to NVFP4: E2M1 in blocks of 16 along a row, an E4M3 scale for each, and over
 * them a float32 for each row, its largest magnitude over 448 * 6. NVFP4 has one of these for a tensor; with
 * one for a row, rows do not depend on one another. dst may be src.
 * @param stream for stochastic rounding; 0: codes are the nearest
 * @param work five bytes for each block, and 64
 */
export function roundNvfp4(
  dst: usize,
  src: usize,
  rows: usize,
  cols: usize,
  firstRow: usize,
  stream: RandomStream | null,
  work: usize,
): void {
  const blocks = (cols + 15) / 16;
  const scales = work;
  const codes = scales + 4 * blocks + 64;
  for (let row: usize = 0; row < rows; row++) {
    const from = src + 4 * row * cols;
    const to = dst + 4 * row * cols;
    const rowScale: f32 = largest(from, cols) / (448 * 6);
    for (let block: usize = 0; block < blocks; block++) {
      const amax = largest(from + 64 * block, min<usize>(16, cols - 16 * block));
      store<f32>(scales + 4 * block, rowScale == 0 ? 0 : amax / 6 / rowScale);
    }
    encode<E4M3>(codes, scales, blocks);
    decode<E4M3>(scales, codes, blocks);
    for (let block: usize = 0; block < blocks; block++) {
      const n = min<usize>(16, cols - 16 * block);
      const at: usize = 64 * block;
      const scale: f32 = load<f32>(scales + 4 * block) * rowScale;
      for (let i: usize = 0; i < n; i++)
        store<f32>(to + at + 4 * i, scale == 0 ? 0 : load<f32>(from + at + 4 * i) / scale);
      const first = (firstRow + row) * cols + 16 * block;
      if (stream) roundStochastic<E2M1>(to + at, to + at, n, 0, first, stream);
      else roundToFp4(to + at, n);
      for (let i: usize = 0; i < n; i++) store<f32>(to + at + 4 * i, load<f32>(to + at + 4 * i) * scale);
    }
  }
}

/** The nearest E2M1, of two the even one: the spacing of magnitudes is 0.5 below 2, 1 below 4, 2 above. */
function roundToFp4(at: usize, n: usize): void {
  for (let i: usize = 0; i < n; i++, at += 4) {
    const x = load<f32>(at);
    const size = abs<f32>(x);
    const spacing: f32 = size < 2 ? 0.5 : size < 4 ? 1 : 2;
    store<f32>(at, copysign<f32>(min(nearest<f32>(size / spacing) * spacing, Format.max<E2M1>()), x));
  }
}

function largest(src: usize, n: usize): f32 {
  let most: f32 = 0;
  for (let i: usize = 0; i < n; i++) most = max(most, abs<f32>(load<f32>(src + 4 * i)));
  return most;
}
