// The Llama of bench/training-speed.mjs in TensorFlow.js with its wasm backend: float32, one thread. Forward, gradients and Adam, without decay and clipping.
import { dirname } from "node:path";

/**
 * @param require resolves the packages @tensorflow/tfjs and @tensorflow/tfjs-backend-wasm
 * @param checkpoint names and values of the weights: Map of { shape, values }
 */
export async function openTfjsLlama(require, config, checkpoint, [batch, length], learningRate) {
  const tf = require("@tensorflow/tfjs");
  const wasm = require("@tensorflow/tfjs-backend-wasm");
  wasm.setWasmPaths(`${dirname(require.resolve("@tensorflow/tfjs-backend-wasm"))}/`);
  wasm.setThreadsCount(1);
  // It does not ask Node whether there is SIMD.
  tf.env().set("WASM_HAS_SIMD_SUPPORT", true);
  tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
  await tf.setBackend("wasm");
  await tf.ready();
  const { num_attention_heads: heads, head_dim: dim, vocab_size: vocabulary } = config;
  const tokens = batch * length;
  // Only products whose right operand is not transposed are fast: so weights are [k, n] here, and gradients are products of that kind as well.
  const upright = (name, w) => (name.includes("_proj") || name.includes("lm_head") ? tf.transpose(w) : w);
  const product = tf.customGrad((x, w, save) => {
    save([x, w]);
    const gradFunc = (dy, [x, w]) => [tf.matMul(dy, tf.transpose(w)), tf.matMul(tf.transpose(x), dy)];
    return { value: tf.matMul(x, w), gradFunc };
  });
  const weights = new Map(
    [...checkpoint].map(([name, { shape, values }]) => [
      name,
      tf.variable(upright(name, tf.tensor(values, shape)), true, name),
    ]),
  );
  const weight = (name) => weights.get(`${name}.weight`);
  const linear = (x, name) => product(x, weight(name));
  const norm = (x, name) =>
    tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), config.rms_norm_eps))), weight(name));
  const angle = (at, i) => at * 10000 ** ((-2 * (i % (dim / 2))) / dim);
  const table = (of) =>
    tf.tensor(
      Float32Array.from({ length: length * dim }, (_, i) => of(angle(Math.floor(i / dim), i % dim))),
      [1, length, 1, dim],
    );
  const [cos, sin] = [table(Math.cos), table(Math.sin)];
  const mask = tf.tensor(
    Float32Array.from({ length: length * length }, (_, i) =>
      i % length > Math.floor(i / length) ? -1e9 : 0,
    ),
    [1, 1, length, length],
  );
  const split = (x) => tf.reshape(x, [batch, length, heads, dim]);
  const turn = (x) => {
    const half = [batch, length, heads, dim / 2];
    const other = tf.concat(
      [tf.neg(tf.slice(x, [0, 0, 0, dim / 2], half)), tf.slice(x, [0, 0, 0, 0], half)],
      3,
    );
    return tf.add(tf.mul(x, cos), tf.mul(other, sin));
  };
  const byHead = (x) => tf.transpose(x, [0, 2, 1, 3]);
  const attention = (x, path) => {
    const q = byHead(turn(split(linear(x, `${path}.q_proj`))));
    const k = byHead(turn(split(linear(x, `${path}.k_proj`))));
    const v = byHead(split(linear(x, `${path}.v_proj`)));
    const scores = tf.add(tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(dim)), mask);
    const heard = byHead(tf.matMul(tf.softmax(scores), v));
    return linear(tf.reshape(heard, [tokens, heads * dim]), `${path}.o_proj`);
  };
  const feedForward = (x, path) => {
    const gate = linear(x, `${path}.gate_proj`);
    const act = tf.mul(tf.mul(gate, tf.sigmoid(gate)), linear(x, `${path}.up_proj`));
    return linear(act, `${path}.down_proj`);
  };
  const lossOf = (inputs, targets) => {
    let x = tf.customGrad((words) => ({
      value: tf.gather(words, inputs),
      gradFunc: (dy) => tf.matMul(tf.transpose(tf.cast(tf.oneHot(inputs, vocabulary), "float32")), dy),
    }))(weight("model.embed_tokens"));
    for (let i = 0; i < config.num_hidden_layers; i++) {
      const path = `model.layers.${i}`;
      x = tf.add(x, attention(norm(x, `${path}.input_layernorm`), `${path}.self_attn`));
      x = tf.add(x, feedForward(norm(x, `${path}.post_attention_layernorm`), `${path}.mlp`));
    }
    const logits = linear(norm(x, "model.norm"), "lm_head");
    const chosen = tf.sum(tf.mul(logits, tf.oneHot(targets, vocabulary)), -1);
    return tf.mean(tf.sub(tf.logSumExp(logits, -1), chosen));
  };
  const optimizer = tf.train.adam(learningRate, 0.9, 0.95, 1e-8);
  return {
    version: tf.version_core,
    /** A step with ids [batch, length + 1]: its loss. */
    step(ids) {
      const cut = (from) =>
        Int32Array.from(
          { length: tokens },
          (_, i) => ids[Math.floor(i / length) * (length + 1) + (i % length) + from],
        );
      const loss = tf.tidy(() => {
        // Made here, they are still there when gradients are computed.
        const [inputs, targets] = [0, 1].map((from) => tf.tensor1d(cut(from), "int32"));
        return optimizer.minimize(() => lossOf(inputs, targets), true);
      });
      const [value] = loss.dataSync();
      loss.dispose();
      return value;
    },
  };
}
