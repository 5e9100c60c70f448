// ONNX models written as protocol buffers by hand: the smallest there are, one node with its weights, and the parts of larger ones.

export const FLOAT = 1;
export const UINT8 = 2;
export const INT8 = 3;
export const INT64 = 7;

function varint(value) {
  const bytes = [];
  let rest = value;
  do {
    bytes.push((rest & 127) | (rest > 127 ? 128 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return Buffer.from(bytes);
}

export const number = (field, value) => Buffer.concat([varint(field * 8), varint(value)]);
export const bytes = (field, value) => Buffer.concat([varint(field * 8 + 2), varint(value.length), value]);
export const text = (field, value) => bytes(field, Buffer.from(value));
export const message = (field, ...parts) => bytes(field, Buffer.concat(parts));

export function tensor(name, type, dims, data) {
  const raw = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return message(5, ...dims.map((dim) => number(1, dim)), number(2, type), text(8, name), bytes(9, raw));
}

export function value(field, name, dims, type = FLOAT) {
  const shape = message(2, ...dims.map((dim) => message(1, number(1, dim))));
  return message(field, text(1, name), message(2, message(1, number(1, type), shape)));
}

function model(operator, domain, inputs, attributes, initializers, [m, n, k]) {
  const node = message(
    1,
    ...inputs.map((name) => text(1, name)),
    text(2, "y"),
    text(4, operator),
    ...Object.entries(attributes).map(([name, i]) => message(5, text(1, name), number(3, i), number(20, 2))),
    text(7, domain),
  );
  const graph = message(
    7,
    node,
    text(2, "g"),
    ...initializers,
    value(11, "x", [m, k]),
    value(12, "y", [m, n]),
  );
  const opsets = ["", "com.microsoft"].map((name) => message(8, text(1, name), number(2, name ? 1 : 17)));
  return Buffer.concat([number(1, 8), graph, ...opsets]);
}

/** y = x . w^T in float32; w is [n, k]. MatMul wants [k, n], Gemm takes it as it is: the better one counts. */
export function gemmModel(w, [m, n, k]) {
  return model("Gemm", "", ["x", "w"], { transB: 1 }, [tensor("w", FLOAT, [n, k], w)], [m, n, k]);
}

export function matMulModel(w, [m, n, k]) {
  const transposed = Float32Array.from(w, (_, i) => w[(i % n) * k + Math.floor(i / n)]);
  return model("MatMul", "", ["x", "w"], {}, [tensor("w", FLOAT, [k, n], transposed)], [m, n, k]);
}

/** The same with weights of 8 or 4 bits (two a byte, the lower first) in blocks of 32, each with a float32 scale; zero is in the middle. */
export function matMulNBitsModel(w, [m, n, k], bits = 8) {
  const middle = 2 ** (bits - 1);
  const each = 8 / bits;
  const codes = new Uint8Array((n * k) / each);
  const scales = new Float32Array((n * k) / 32);
  for (let block = 0; block < scales.length; block++) {
    const values = w.subarray(32 * block, 32 * block + 32);
    const scale = values.reduce((most, v) => Math.max(most, Math.abs(v)), 0) / (middle - 1) || 1;
    scales[block] = scale;
    values.forEach((v, i) => {
      const at = 32 * block + i;
      codes[Math.floor(at / each)] |= (middle + Math.round(v / scale)) << (bits * (at % each));
    });
  }
  const initializers = [
    tensor("w", UINT8, [n, k / 32, 32 / each], codes),
    tensor("s", FLOAT, [scales.length], scales),
  ];
  const attributes = { K: k, N: n, bits, block_size: 32 };
  return model("MatMulNBits", "com.microsoft", ["x", "w", "s"], attributes, initializers, [m, n, k]);
}
