/**
 * What is measured: one verb on one tensor.
 * @typedef {object} Work
 * @property {"encode" | "decode" | "quantize" | "dequantize"} verb
 * @property {"f32" | "bf16"} type of the values
 * @property {string} [block] such as "1x32"; none for encode and decode
 * @property {number} bytes of the values in their type; codes and scales come on top
 * @property {string} data see data.mjs
 * @property {boolean} withJs whether plain JavaScript takes part
 * @property {boolean} [isPaired] measured beside the same work on other data, for the sake of their ratio only
 */

const KIB = 2 ** 10;
const MIB = 2 ** 20;

/** In the second-level cache, in the third, in memory. */
export const SIZES = { "256 KiB": 256 * KIB, "8 MiB": 8 * MIB, "256 MiB": 256 * MIB };

export const elementsOf = ({ type, bytes }) => bytes / (type === "f32" ? 4 : 2);

export const blockOf = ({ block }) => block.split("x").map(Number);

/** Bytes that a verb reads and writes. */
export function trafficOf(work) {
  const n = elementsOf(work);
  if (!work.block) return work.bytes + n;
  const [rows, cols] = blockOf(work);
  return work.bytes + n + n / (rows * cols);
}

const BLOCKS = ["1x32", "1x128", "128x128"];

function verbs(types, blocks) {
  const scaled = ["quantize", "dequantize"].flatMap((verb) =>
    types.flatMap((type) => blocks.map((block) => ({ verb, type, block }))),
  );
  return [{ verb: "encode", type: "f32" }, { verb: "decode", type: "f32" }, ...scaled];
}

/** What becomes of speed when data are not normal values; the first of each pair is the measure. */
const PAIRS = [
  ["normal", "random"],
  ["clean", "subnormal"],
];

/** Groups of works; those of a group are timed side by side. */
export function groups(quick) {
  const all = [];
  for (const bytes of Object.values(SIZES)) {
    const blocks = quick ? ["1x128"] : BLOCKS;
    if (quick && bytes > SIZES["256 KiB"]) blocks.unshift("1x32");
    for (const work of verbs(["f32", "bf16"], blocks)) {
      const withJs = !quick || (bytes === SIZES["8 MiB"] && work.type === "f32");
      all.push([{ ...work, bytes, data: "normal", withJs }]);
    }
  }
  const bytes = SIZES["8 MiB"];
  for (const work of verbs(["f32"], ["1x128"])) {
    for (const pair of quick ? PAIRS.slice(1) : PAIRS) {
      if (!work.block && pair[0] === "clean") continue; // unscaled values near zero have subnormal codes anyway
      all.push(pair.map((data) => ({ ...work, bytes, data, isPaired: true, withJs: !quick })));
    }
  }
  return all;
}
