// Block quantisation as a careful programmer writes it in plain JavaScript: a table for decoding, integer arithmetic
// for encoding and for the scale, no logarithm, no allocation. E4M3, UE8M0 scales rounded up, on typed arrays in place.

const DECODED = Float32Array.from({ length: 256 }, (_, code) => {
  const magnitude = code & 0x7f;
  const significand = magnitude < 8 ? magnitude / 8 : 1 + (magnitude & 7) / 8;
  const value = magnitude === 0x7f ? Number.NaN : significand * 2 ** (Math.max(magnitude >> 3, 1) - 7);
  return code & 0x80 ? -value : value;
});

const pun = new Float32Array(1);
const punBits = new Int32Array(pun.buffer);

/** codes[i] <- float32 bits over 2^(byte - 127), round to nearest even, saturating. */
function encodeSpan(codes, bits, shift, from, n, byte) {
  const lowest = byte - 6;
  const threshold = lowest << 23;
  const constant = 0x7ffff - ((lowest - 1) << 23);
  for (let i = from; i < from + n; i++) {
    const x = bits[i] << shift;
    const a = x & 0x7fffffff;
    let code;
    if (a >= threshold) {
      code = (a + constant + ((a >> 20) & 1)) >> 20;
      if (code > 0x7e) code = a > 0x7f800000 ? 0x7f : 0x7e;
    } else {
      const dropped = Math.min(20 + lowest - (a >> 23), 25);
      const significand = (a & 0x7fffff) | 0x800000;
      code = (significand + (1 << (dropped - 1)) - 1 + ((significand >> dropped) & 1)) >> dropped;
    }
    codes[i] = code | ((x >> 24) & 0x80);
  }
}

export function encode(codes, bits) {
  encodeSpan(codes, bits, 0, 0, bits.length, 127);
}

export function decode(values, codes) {
  for (let i = 0; i < codes.length; i++) values[i] = DECODED[codes[i]];
}

/** `bits` are those of float32 (Int32Array) or bfloat16 (Uint16Array); blocks must divide rows and cols. */
export function quantize(codes, scales, bits, rows, cols, blockRows, blockCols) {
  const shift = bits.BYTES_PER_ELEMENT === 4 ? 0 : 16;
  let block = 0;
  for (let row = 0; row < rows; row += blockRows) {
    for (let col = 0; col < cols; col += blockCols, block++) {
      let amax = 0;
      for (let r = row; r < row + blockRows; r++) {
        const from = r * cols + col;
        for (let i = from; i < from + blockCols; i++) {
          const a = (bits[i] << shift) & 0x7fffffff;
          if (a > amax) amax = a;
        }
      }
      const byte = Math.max(((amax + 0x1fffff) >> 23) - 8, 0);
      scales[block] = byte;
      for (let r = row; r < row + blockRows; r++) {
        encodeSpan(codes, bits, shift, r * cols + col, blockCols, byte);
      }
    }
  }
}

/** `values` is a Float32Array, or a Uint16Array that gets bfloat16 bits. */
export function dequantize(values, codes, scales, rows, cols, blockRows, blockCols) {
  const isF32 = values.BYTES_PER_ELEMENT === 4;
  const gridCols = cols / blockCols;
  for (let row = 0; row < rows; row++) {
    let block = Math.floor(row / blockRows) * gridCols;
    for (let from = row * cols; from < (row + 1) * cols; from += blockCols, block++) {
      const scale = 2 ** (scales[block] - 127);
      if (isF32) for (let i = from; i < from + blockCols; i++) values[i] = DECODED[codes[i]] * scale;
      else for (let i = from; i < from + blockCols; i++) values[i] = bf16(DECODED[codes[i]] * scale);
    }
  }
}

function bf16(value) {
  pun[0] = value;
  const bits = punBits[0];
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}
