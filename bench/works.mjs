/**
 * What is measured: one verb on one tensor.
 * @typedef {object} Work
 * @property {"encode" | "decode" | "quantize" | "dequantize"} verb
 * @property {"f32" | "bf16"} type of the values
 * @property {string} [block] such as "1x32"; none for encode and decode
 * @property {number} bytes of the values in their type; codes and scales come on top
 * @property {string} data see data.mjs
 * @property {boolean} withJs whether plain JavaScript takes part
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

/** Groups of works; those of a group are timed side by side. */
export function groups(quick) {
  const all = [];
  for (const bytes of Object.values(SIZES)) {
    const blocks = quick && bytes === SIZES["256 KiB"] ? ["1x128"] : BLOCKS;
    for (const work of verbs(["f32", "bf16"], quick ? blocks.slice(0, 2) : blocks)) {
      all.push([
        {
          ...work,
          bytes,
          data: "normal",
          withJs: !quick || (bytes === SIZES["8 MiB"] && work.type === "f32"),
        },
      ]);
    }
  }
  const bytes = SIZES["8 MiB"];
  if (!quick) {
    for (const work of verbs(["f32", "bf16"], ["1x128"]))
      all.push([{ ...work, bytes, data: "random", withJs: true }]);
  }
  for (const verb of ["quantize", "dequantize"]) {
    const work = { verb, type: "f32", block: "1x128", bytes };
    all.push(["clean", "subnormal"].map((data) => ({ ...work, data, withJs: !quick })));
  }
  return all;
}
