import { createRequire } from "node:module";
import { dirname } from "node:path";
import { setThreadsCount, setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import * as tf from "@tensorflow/tfjs-core";
import { gemmModel, matMulModel, matMulNBitsModel } from "./peers/onnx.mjs";
import { ofModel } from "./peers/ort.mjs";

const require = createRequire(import.meta.url);

setThreadsCount(1);
setWasmPaths(`${dirname(require.resolve("@tensorflow/tfjs-backend-wasm"))}/`);
// It does not ask Node whether there is SIMD.
tf.env().set("WASM_HAS_SIMD_SUPPORT", true);
tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
await tf.setBackend("wasm");

function ofTensorFlow(x, w, [m, n, k]) {
  const a = tf.tensor2d(x, [m, k]);
  // Transposed beforehand: it has a fast product for that alone.
  const b = tf.tidy(() => tf.transpose(tf.tensor2d(w, [n, k])));
  return {
    run: () => {
      const y = tf.matMul(a, b);
      const data = y.dataSync();
      y.dispose();
      return data;
    },
    free: () => tf.dispose([a, b]),
  };
}

/** As one writes it with care in plain JavaScript: a table of values, the block's scale outside of the inner loop. */
function inJs(x, tensor, [m, n, k]) {
  const { codes, scales, block } = tensor;
  const table = Float32Array.from({ length: 256 }, (_, code) => {
    const magnitude = code & 127;
    const value = magnitude < 8 ? magnitude * 2 ** -9 : (8 + (magnitude & 7)) * 2 ** ((magnitude >> 3) - 10);
    return code & 128 ? -value : value;
  });
  const y = new Float32Array(m * n);
  const gridCols = Math.ceil(k / block[1]);
  return {
    run: () => {
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let total = 0;
          const scaleRow = Math.floor(j / block[0]) * gridCols;
          for (let from = 0, b = 0; from < k; from += block[1], b++) {
            let sum = 0;
            const end = Math.min(k, from + block[1]);
            for (let l = from; l < end; l++) sum += x[i * k + l] * table[codes[j * k + l]];
            total += sum * 2 ** (scales[scaleRow + b] - 127);
          }
          y[i * n + j] = total;
        }
      }
      return y;
    },
    free: () => {},
  };
}

/** Peers of the product of x and the values w of a tensor, by name. */
export async function peersOf(x, w, tensor, sizes, withJs) {
  return {
    "ort MatMul": await ofModel(matMulModel(w, sizes), x, sizes),
    "ort Gemm": await ofModel(gemmModel(w, sizes), x, sizes),
    "ort MatMulNBits": await ofModel(matMulNBitsModel(w, sizes), x, sizes),
    tfjs: ofTensorFlow(x, w, sizes),
    ...(withJs ? { js: inJs(x, tensor, sizes) } : {}),
  };
}
