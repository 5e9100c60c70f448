// How much smaller FP8 codes become by the content encodings of HTTP: node bench/encoding.mjs
import zlib from "node:zlib";
import { markdownTable } from "markdown-table";
import { load, schemes } from "../dist/index.js";

const { brotliCompressSync, constants, deflateRawSync, gzipSync, zstdCompressSync } = zlib;
const SIZE = 2048;
const CHUNK = 65536;

/** Seeded normal numbers: mulberry32, Box-Muller. */
function normals(count) {
  let state = 1;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => 0.02 * Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
  );
}

/** Bits a byte that no encoding of single bytes can go below. */
function entropyOf(bytes) {
  const counts = new Float64Array(256);
  for (const byte of bytes) counts[byte]++;
  return counts.reduce(
    (sum, n) => (n === 0 ? sum : sum - (n / bytes.length) * Math.log2(n / bytes.length)),
    0,
  );
}

const encodings = {
  gzip: (bytes) => gzipSync(bytes),
  "deflate, Huffman alone": (bytes) => deflateRawSync(bytes, { strategy: constants.Z_HUFFMAN_ONLY }),
  "br, quality 5": (bytes) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } }),
  // Node 20 has none.
  ...(zstdCompressSync === undefined ? {} : { "zstd, level 3": (bytes) => zstdCompressSync(bytes) }),
};

const fp8 = await load();
const values = normals(SIZE * SIZE);
const made = (scheme) => fp8.quantize(values, [SIZE, SIZE], scheme);
const weight = made(schemes.deepseekWeight);
const inputs = {
  "E4M3 codes, 128x128": weight.codes,
  "E4M3 codes, 1x32": made(schemes.mxfp8).codes,
  "E5M2 codes, 1x32": made({ ...schemes.mxfp8, format: "e5m2" }).codes,
  "UE8M0 scales, 1x32": made(schemes.mxfp8).scales,
  // The upper halves of float32.
  "BF16 values": new Uint8Array(
    Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16).buffer,
  ),
};

const saved = (bytes, encode) => {
  // The least of some times: other programs on the machine take theirs.
  let [size, least] = [0, Infinity];
  for (let turn = 0; turn < 5; turn++) {
    const started = performance.now();
    size = encode(bytes).length;
    least = Math.min(least, performance.now() - started);
  }
  const rate = bytes.length / 1e3 / least;
  let inChunks = 0;
  for (let at = 0; at < bytes.length; at += CHUNK) inChunks += encode(bytes.subarray(at, at + CHUNK)).length;
  const share = (n) => `${(100 * (1 - n / bytes.length)).toFixed(1)} %`;
  return `${share(size)} / ${share(inChunks)} / ${rate.toFixed(0)} MB/s`;
};

const rows = Object.entries(inputs).map(([name, bytes]) => [
  name,
  entropyOf(bytes).toFixed(2),
  ...Object.values(encodings).map((encode) => saved(bytes, encode)),
]);
console.log(
  `${process.version}, Gaussian weights [${SIZE}, ${SIZE}]: saved whole / in chunks of 64 KiB / rate\n`,
);
console.log(markdownTable([["bytes", "bits a byte", ...Object.keys(encodings)], ...rows]));
