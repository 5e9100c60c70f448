// An encoder of BERT's kind as an ONNX model, in float32 or as transformers.js's "q8" is: weights of linear layers in 8 bits, activations rounded as they come.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FLOAT, INT8, INT64, message, number, tensor, text, value } from "./onnx.mjs";
import { weightsOf } from "./weights.mjs";

const FLOATS = 1;
const INTS = 7;
const INT = 2;

function float(f) {
  return Buffer.from(Float32Array.of(f).buffer);
}

/** An attribute of a node: an integer, a list of them, or { float }. */
function attribute(name, given) {
  if (typeof given === "object" && !Array.isArray(given)) {
    // Field 2 is of 32 bits.
    return message(
      5,
      text(1, name),
      Buffer.concat([Buffer.from([(2 << 3) | 5]), float(given.float)]),
      number(20, FLOATS),
    );
  }
  if (Array.isArray(given))
    return message(5, text(1, name), ...given.map((i) => number(8, i)), number(20, INTS));
  return message(5, text(1, name), number(3, given), number(20, INT));
}

/** Collects the nodes and weights of a graph; each node gives the name of its first result. */
class Graph {
  nodes = [];
  weights = [];
  #count = 0;

  node(operator, inputs, attributes = {}, outputs = 1) {
    const names = Array.from({ length: outputs }, () => `v${this.#count++}`);
    const parts = Object.entries(attributes).map(([name, given]) => attribute(name, given));
    this.nodes.push(
      message(
        1,
        ...inputs.map((name) => text(1, name)),
        ...names.map((name) => text(2, name)),
        text(4, operator),
        ...parts,
      ),
    );
    return outputs === 1 ? names[0] : names;
  }

  constant(type, dims, data) {
    const name = `w${this.weights.length}`;
    this.weights.push(tensor(name, type, dims, data));
    return name;
  }

  floats(dims, data) {
    return this.constant(FLOAT, dims, data);
  }

  ints(values) {
    return this.constant(INT64, [values.length], BigInt64Array.from(values, BigInt));
  }
}

/** w [n, k] as MatMul takes it, [k, n]. */
function turned({ shape: [n, k], values }) {
  return Float32Array.from({ length: n * k }, (_, i) => values[(i % n) * k + Math.floor(i / n)]);
}

/** Values as int8 with one scale, as ONNX's dynamic quantisation does. */
function rounded(values) {
  const scale = values.reduce((most, v) => Math.max(most, Math.abs(v)), 0) / 127;
  return { codes: Int8Array.from(values, (v) => Math.round(v / scale)), scale };
}

/**
 * last_hidden_state [1, tokens, hidden] of input_ids [1, tokens].
 * @param weights by their names in the checkpoint: { shape, values }
 */
function encoderModel(config, weights, tokens, isRounded) {
  const graph = new Graph();
  const { hidden_size: hidden, num_attention_heads: heads } = config;
  const dim = hidden / heads;
  const vector = (name) => graph.floats(weights[name].shape, weights[name].values);
  const linear = (x, name) => {
    const [n, k] = weights[`${name}.weight`].shape;
    const values = turned(weights[`${name}.weight`]);
    const bias = vector(`${name}.bias`);
    if (!isRounded) return graph.node("Add", [graph.node("MatMul", [x, graph.floats([k, n], values)]), bias]);
    const { codes, scale } = rounded(values);
    const [q, xScale, zero] = graph.node("DynamicQuantizeLinear", [x], {}, 3);
    const sums = graph.node("MatMulInteger", [q, graph.constant(INT8, [k, n], codes), zero]);
    const factor = graph.node("Mul", [xScale, graph.floats([1], Float32Array.of(scale))]);
    return graph.node("Add", [graph.node("Mul", [graph.node("Cast", [sums], { to: FLOAT }), factor]), bias]);
  };
  const norm = (x, name) =>
    graph.node("LayerNormalization", [x, vector(`${name}.weight`), vector(`${name}.bias`)], {
      axis: 2,
      epsilon: { float: config.layer_norm_eps },
    });
  const table = (name, indices) => {
    const { shape, values } = weights[`embeddings.${name}.weight`];
    return graph.node("Gather", [graph.floats(shape, values), indices], { axis: 0 });
  };
  const range = graph.constant(
    INT64,
    [1, tokens],
    BigInt64Array.from({ length: tokens }, (_, i) => BigInt(i)),
  );
  const zeros = graph.constant(INT64, [1, tokens], new BigInt64Array(tokens));
  const words = graph.node("Add", [
    table("word_embeddings", "input_ids"),
    table("token_type_embeddings", zeros),
  ]);
  let x = norm(graph.node("Add", [words, table("position_embeddings", range)]), "embeddings.LayerNorm");
  const parted = graph.ints([1, tokens, heads, dim]);
  const whole = graph.ints([1, tokens, hidden]);
  const one = (f) => graph.floats([1], Float32Array.of(f));
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const at = `encoder.layer.${i}`;
    const headsOf = (name, perm) =>
      graph.node("Transpose", [graph.node("Reshape", [linear(x, `${at}.attention.self.${name}`), parted])], {
        perm,
      });
    const [q, k, v] = [
      headsOf("query", [0, 2, 1, 3]),
      headsOf("key", [0, 2, 3, 1]),
      headsOf("value", [0, 2, 1, 3]),
    ];
    const scores = graph.node("Mul", [graph.node("MatMul", [q, k]), one(dim ** -0.5)]);
    const mixed = graph.node("MatMul", [graph.node("Softmax", [scores], { axis: 3 }), v]);
    const joined = graph.node("Reshape", [graph.node("Transpose", [mixed], { perm: [0, 2, 1, 3] }), whole]);
    const added = graph.node("Add", [linear(joined, `${at}.attention.output.dense`), x]);
    const y = norm(added, `${at}.attention.output.LayerNorm`);
    const inner = linear(y, `${at}.intermediate.dense`);
    const erf = graph.node("Erf", [graph.node("Mul", [inner, one(Math.SQRT1_2)])]);
    const gelu = graph.node("Mul", [graph.node("Mul", [inner, one(0.5)]), graph.node("Add", [erf, one(1)])]);
    x = norm(graph.node("Add", [linear(gelu, `${at}.output.dense`), y]), `${at}.output.LayerNorm`);
  }
  const end = message(1, text(1, x), text(2, "last_hidden_state"), text(4, "Identity"));
  const outline = [
    value(11, "input_ids", [1, tokens], INT64),
    value(12, "last_hidden_state", [1, tokens, hidden]),
  ];
  const body = message(7, ...graph.nodes, end, text(2, "encoder"), ...graph.weights, ...outline);
  return Buffer.concat([number(1, 8), body, message(8, text(1, ""), number(2, 17))]);
}

/** Writes the models of a checkpoint where transformers.js looks for them: onnx/model.onnx and onnx/model_quantized.onnx in its folder. */
export async function writeOnnx(folder, tokens) {
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
  const weights = await weightsOf(folder);
  mkdirSync(join(folder, "onnx"));
  for (const [name, isRounded] of [
    ["model", false],
    ["model_quantized", true],
  ])
    writeFileSync(join(folder, "onnx", `${name}.onnx`), encoderModel(config, weights, tokens, isRounded));
}
