// Nearest-neighbour search over embeddings held in FP8: a quarter of the memory of float32, and as fast or faster.
// node test/examples/nearest-neighbours.mjs [COUNT]     100,000 embeddings of 768 dimensions if left out
import { load, schemes } from "blockscale";

const COUNT = Number(process.argv[2] ?? 100_000);
const DIMENSIONS = 768;
const QUERIES = 50;
const NEAREST = 10;
/** Embeddings of real text crowd together: each is near one of these. */
const TOPICS = 200;

/** Seeded numbers that are roughly normal: xorshift, the sum of four bytes. */
function normalFrom(seed) {
  let x = seed;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return ((x & 255) + ((x >>> 8) & 255) + ((x >>> 16) & 255) + (x >>> 24) - 510) / 148;
  };
}

/** Unit vectors, each a topic and as much again of its own. */
function embeddings(seed, count, topics) {
  const normal = normalFrom(seed);
  const vectors = new Float32Array(count * DIMENSIONS);
  for (let row = 0; row < count; row++) {
    const vector = vectors.subarray(row * DIMENSIONS, (row + 1) * DIMENSIONS);
    const topic = topics?.subarray((row % TOPICS) * DIMENSIONS, ((row % TOPICS) + 1) * DIMENSIONS);
    let squares = 0;
    for (let i = 0; i < DIMENSIONS; i++) {
      vector[i] = normal() / Math.sqrt(DIMENSIONS) + (topic ? topic[i] : 0);
      squares += vector[i] ** 2;
    }
    const length = Math.sqrt(squares);
    for (let i = 0; i < DIMENSIONS; i++) vector[i] /= length;
  }
  return vectors;
}

/** Rows of the largest scores, the largest first. */
function nearest(scores) {
  const best = [];
  let least = -Infinity;
  for (let row = 0; row < scores.length; row++) {
    if (scores[row] <= least) continue;
    best.push(row);
    best.sort((a, b) => scores[b] - scores[a]);
    if (best.length > NEAREST) best.pop();
    if (best.length === NEAREST) least = scores[best[NEAREST - 1]];
  }
  return best;
}

/** Scores of one query in plain JavaScript: what float32 costs without a library. */
function scoresInJs(query, vectors, out) {
  for (let row = 0; row < out.length; row++) {
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    for (let i = 0, at = row * DIMENSIONS; i < DIMENSIONS; i += 4, at += 4) {
      a += query[i] * vectors[at];
      b += query[i + 1] * vectors[at + 1];
      c += query[i + 2] * vectors[at + 2];
      d += query[i + 3] * vectors[at + 3];
    }
    out[row] = a + b + c + d;
  }
  return out;
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1];

/** The ten nearest of every query, and the median time of a query in milliseconds. */
function search(queries, score) {
  const times = [];
  const found = [];
  for (let q = -2; q < QUERIES; q++) {
    const index = Math.max(q, 0); // two to warm up
    const query = queries.subarray(index * DIMENSIONS, (index + 1) * DIMENSIONS);
    const start = performance.now();
    const rows = nearest(score(query));
    if (q < 0) continue;
    times.push(performance.now() - start);
    found.push(rows);
  }
  return { found, ms: median(times) };
}

const topics = embeddings(1, TOPICS);
const vectors = embeddings(2, COUNT, topics);
const queries = embeddings(3, QUERIES, topics);

const fp8 = await load();
const quantized = fp8.quantize(vectors, [COUNT, DIMENSIONS], schemes.mxfp8);
const index = fp8.pack(quantized);
const scores = new Float32Array(COUNT);

const exact = search(queries, (query) => scoresInJs(query, vectors, scores));
const ours = search(queries, (values) =>
  fp8.gemm({ values, shape: [1, DIMENSIONS] }, index, { out: scores }),
);

const hits = ours.found.map((rows, q) => rows.filter((row) => exact.found[q].includes(row)).length);
const recall = hits.reduce((a, b) => a + b, 0) / (QUERIES * NEAREST);
const mb = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
console.log(`${COUNT} embeddings of ${DIMENSIONS} dimensions, ${QUERIES} queries`);
console.log(`float32, plain JavaScript   ${mb(vectors.byteLength)}   ${exact.ms.toFixed(2)} ms per query`);
console.log(`FP8 1x32, ${fp8.variant.padEnd(18)}${mb(index.bytes)}   ${ours.ms.toFixed(2)} ms per query`);
console.log(`recall@${NEAREST}: ${recall.toFixed(3)}`);
index.free();
