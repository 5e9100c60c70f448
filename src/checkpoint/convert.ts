import type { Engine } from "../engine.ts";
import { BlockscaleError } from "../errors.ts";
import { readRange, type Source } from "../io/source.ts";
import { tensorNamed } from "../safetensors/names.ts";
import type { BlockScaled } from "../tensor.ts";
import type { Conversion, ScaledTarget } from "./plan.ts";
import { add, measure, NOTHING, type Precision } from "./report.ts";
import type { Strip } from "./strip.ts";
import { VALUE_BYTES, valuesOf, widen } from "./values.ts";
import { matrixOf, type PlainWeight } from "./weights.ts";

/** What a strip became: bytes as they go into the file. A plain record whose buffers can be transferred. */
export interface Piece {
  /** Codes, or plain values. */
  readonly values: Uint8Array;
  /** Scales of the strip's blocks; empty for plain values. */
  readonly scales: Uint8Array;
  readonly precision: Precision;
}

/** Largest code by format, without its sign. */
const LARGEST = { e4m3: 0x7e, e5m2: 0x7b } as const;

/** Values widened and compared at a time: what a second-level cache holds twice. */
const MEASURED = 1 << 15;

/**
 * Converts one strip: reads its rows, runs the kernels, measures what was lost.
 * @param sources of the shards, by index
 * @throws BlockscaleError `dialect`: values that cannot be quantised; `io`
 */
export async function convertStrip(
  { from, into }: Conversion,
  strip: Strip,
  sources: readonly Source[],
  engine: Engine,
): Promise<Piece> {
  if (from.kind !== "plain" || into.kind !== "scaled") throw new Error("unreachable");
  const bytes = await readRows(from, strip, sources);
  const { cols } = matrixOf(from.shape);
  const tensor = engine.quantize(valuesOf(from.type, bytes), [strip.rows, cols], into.scheme);
  const bad = tensor.scales.findIndex(
    into.scheme.scale === "ue8m0" ? (s) => s === 0xff : (s) => !(s < Infinity),
  );
  if (bad >= 0) throw notFinite(from, strip, into, bad);
  const precision = measureStrip(bytes, from, tensor, engine);
  return { values: tensor.codes, scales: scaleBytes(tensor.scales, into), precision };
}

function readRows({ name, values, type, shape }: PlainWeight, strip: Strip, sources: readonly Source[]) {
  const { rows, cols } = matrixOf(shape);
  const rowBytes = cols * VALUE_BYTES[type];
  const start = values.start + (strip.slice * rows + strip.firstRow) * rowBytes;
  return readRange(tensorNamed(name), sources[values.shard]!, start, start + strip.rows * rowBytes);
}

/** Dequantises the codes again, some rows of a block at a time, and compares. */
function measureStrip(bytes: Uint8Array, from: PlainWeight, tensor: BlockScaled, engine: Engine): Precision {
  const [rows, cols] = tensor.shape as [number, number];
  const [blockRows, blockCols] = tensor.block;
  const scaleCols = Math.ceil(cols / blockCols);
  const width = VALUE_BYTES[from.type];
  const height = Math.max(1, Math.floor(MEASURED / cols));
  const x = new Float32Array(Math.min(rows, height) * cols);
  const y = new Float32Array(x.length);
  let precision = NOTHING;
  let count = 0;
  for (let row = 0; row < rows; row += count) {
    // Rows that start inside a block must end with it: the block is the same for all of them.
    const left = blockRows === 1 ? rows - row : Math.min(rows - row, blockRows - (row % blockRows));
    count = Math.min(height, left);
    const [begin, end] = [row * cols, (row + count) * cols];
    const firstScale = Math.floor(row / blockRows) * scaleCols;
    const codes = tensor.codes.subarray(begin, end);
    const part: BlockScaled = {
      ...tensor,
      shape: [count, cols],
      codes,
      scales: tensor.scales.subarray(firstScale, firstScale + Math.ceil(count / blockRows) * scaleCols),
    };
    const values = widen(from.type, bytes.subarray(begin * width, end * width), x.subarray(0, codes.length));
    const became = engine.dequantize(part, "f32", { out: y.subarray(0, codes.length) });
    precision = add(precision, measure(values, became, codes, LARGEST[tensor.format]));
  }
  return precision;
}

/** Scales in the dtype of the file. */
function scaleBytes(scales: Uint8Array | Float32Array, { scaleDtype }: ScaledTarget): Uint8Array {
  if (scales instanceof Uint8Array && scaleDtype !== "F32") return scales;
  const multipliers =
    scales instanceof Float32Array ? scales : Float32Array.from(scales, (byte) => 2 ** (byte - 127));
  return new Uint8Array(multipliers.buffer, multipliers.byteOffset, multipliers.byteLength);
}

function notFinite(
  from: PlainWeight,
  strip: Strip,
  { scheme }: ScaledTarget,
  scale: number,
): BlockscaleError {
  const { cols } = matrixOf(from.shape);
  const [blockRows, blockCols] = scheme.block;
  const scaleCols = Math.ceil(cols / blockCols);
  const row = strip.firstRow + Math.floor(scale / scaleCols) * blockRows;
  return new BlockscaleError("dialect", {
    where: tensorNamed(from.name),
    expected: "finite values",
    got: `NaN or Inf in the block at row ${row}, column ${(scale % scaleCols) * blockCols}`,
    fix: "Exclude the tensor, or repair the checkpoint.",
  });
}
