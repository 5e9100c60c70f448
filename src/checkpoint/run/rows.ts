import type { Engine } from "../../engine/engine.ts";
import { giveBack, readRange, type Source } from "../../io/source.ts";
import { quotedTensor } from "../../safetensors/display.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { FORMATS, NAN_CODE, scaleValues } from "../../tensor/formats.ts";
import { codesOfBits, e4m3CodeOf, unpack4Bits, unpackRowPairs } from "../../tensor/sub-byte.ts";
import type { BlockScaled, Fp8Format, ValueType } from "../../tensor/tensor.ts";
import { transposed } from "../../tensor/transpose.ts";
import { type Strip, stripShape } from "../plan/strip.ts";
import { readScales } from "../read/scales.ts";
import { VALUE_BYTES } from "../read/values.ts";
import {
  countOf,
  ELEMENTS,
  type ElementType,
  matrixOf,
  type PlainWeight,
  plainShape,
  type ScaledWeight,
  scaleShape,
} from "../read/weights.ts";

/** Rows of a scaled weight, in a form the engine reads. */
export interface ScaledRows extends BlockScaled {
  readonly format: Fp8Format;
  /** Codes without infinity whose exponent bias is one more: see {@link dequantizeRows}. */
  readonly fnuz: boolean;
}

/** Reads the bytes of a strip of plain values. Strips of transposed values are whole slices. */
export async function readPlainRows(
  from: PlainWeight,
  strip: Strip,
  sources: readonly Source[],
): Promise<Uint8Array> {
  const { rows, cols } = matrixOf(from.shape);
  const rowBytes = cols * VALUE_BYTES[from.type];
  const start = from.values.start + (strip.slice * rows + strip.firstRow) * rowBytes;
  const source = sources[from.values.shard]!;
  const bytes = await readRange(quotedTensor(from.name), source, start, start + strip.rows * rowBytes);
  if (!from.transposed) return bytes;
  const stored = plainShape({ ...from, shape: stripShape(from.shape, strip) });
  const { buffer, byteOffset, byteLength } = bytes;
  const values =
    from.type === "f32"
      ? transpose(new Float32Array(buffer, byteOffset, byteLength / 4), stored)
      : transpose(new Uint16Array(buffer, byteOffset, byteLength / 2), stored);
  giveBack(bytes);
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** Exchanges rows and columns of each slice. @param shape of the values before */
export function transpose<A extends Float32Array | Uint16Array>(values: A, shape: readonly number[]): A {
  const { rows, cols } = matrixOf(shape);
  return transposed(values, rows, cols);
}

/**
 * Reads codes and scales of a strip. Where it starts inside a row of blocks,
 * the scales begin with those of that row.
 * @throws BlockscaleError `io`, `dialect`
 */
export async function readScaledRows(
  from: ScaledWeight,
  strip: Strip,
  sources: readonly Source[],
): Promise<ScaledRows> {
  const { block, element } = from;
  const { format, isFnuz } = ELEMENTS[element];
  const codes = await readCodes(from, strip, sources);
  const { first, count } = scalesOfStrip(from, strip);
  const scales = await readScales(from, sources, first, count);
  if (scales instanceof Float32Array && scales.includes(0)) refuseZeroScales(from, strip, codes, scales);
  return {
    format,
    fnuz: isFnuz,
    shape: stripShape(from.shape, strip),
    block,
    codes,
    scales,
  };
}

/** The codes of a strip, one to a byte. */
async function readCodes(
  { shape, codes: place, element, packedAlong }: ScaledWeight,
  strip: Strip,
  sources: readonly Source[],
): Promise<Uint8Array> {
  const { rows, cols } = matrixOf(shape);
  const firstRow = strip.slice * rows + strip.firstRow;
  const read = (first: number, end: number): Promise<Uint8Array> =>
    readRange(quotedTensor(place.name), sources[place.shard]!, place.start + first, place.start + end);
  if (packedAlong === "cols") {
    // Two rows share a row of bytes.
    const [top, bottom] = [Math.floor(firstRow / 2), Math.ceil((firstRow + strip.rows) / 2)];
    const codes = unpackRowPairs(await read(top * cols, bottom * cols), cols);
    return codes.subarray((firstRow - 2 * top) * cols, (firstRow - 2 * top + strip.rows) * cols);
  }
  const rowBytes = (cols * ELEMENTS[element].codeBits) / 8;
  return unpack(element, await read(firstRow * rowBytes, (firstRow + strip.rows) * rowBytes));
}

/** The scales that serve a strip: the index of the first among all of the weight, and how many. */
export function scalesOfStrip(
  { shape, block }: Pick<ScaledWeight, "shape" | "block">,
  strip: Strip,
): { readonly first: number; readonly count: number } {
  const { rows, cols } = matrixOf(shape);
  const scaleCols = Math.ceil(cols / block[1]);
  const firstRow = strip.slice * Math.ceil(rows / block[0]) + Math.floor(strip.firstRow / block[0]);
  const inBlock = strip.firstRow % block[0];
  const scaleRows =
    inBlock === 0
      ? countOf(scaleShape(stripShape(shape, strip), block).slice(0, -1))
      : Math.ceil((inBlock + strip.rows) / block[0]);
  return { first: firstRow * scaleCols, count: scaleRows * scaleCols };
}

/**
 * Refuses a scale of 0 over codes that are not 0: they would be lost. Over codes of 0 it does no harm.
 */
function refuseZeroScales(
  { name, shape, block, scales: place }: ScaledWeight,
  strip: Strip,
  codes: Uint8Array,
  scales: Float32Array,
): void {
  const { slices, rows, cols } = matrixOf(stripShape(shape, strip));
  const [gridRows, gridCols] = scaleShape([rows, cols], block) as [number, number];
  for (let i = 0; i < codes.length; i++) {
    const row = Math.floor(i / cols) % rows;
    const slice = Math.floor(i / cols / rows);
    const scaleRow = slice * gridRows + Math.floor(((strip.firstRow % block[0]) + row) / block[0]);
    if ((codes[i]! & 0x7f) === 0 || scales[scaleRow * gridCols + Math.floor((i % cols) / block[1])] !== 0)
      continue;
    const top = strip.firstRow + Math.floor(row / block[0]) * block[0];
    throw new BlockscaleError("dialect", {
      where: quotedTensor(place?.name ?? name),
      expected: "a scale other than 0 for a block that holds codes other than 0",
      got: `0 for the block at row ${top}, column ${Math.floor((i % cols) / block[1]) * block[1]}${slices > 1 || strip.slice > 0 ? ` of slice ${strip.slice + slice}` : ""}`,
      fix: "The checkpoint is damaged, or its scales mean something else: convert it with the tool that made it.",
    });
  }
}

/** E4M3 codes of the integers from -8 to 7. */
const INTEGERS: readonly number[] = Array.from({ length: 16 }, (_, code) => e4m3CodeOf(code - 8));

/** Codes of a byte each, of those that a file holds. */
function unpack(element: ElementType, codes: Uint8Array): Uint8Array {
  if (element === "int4") return unpack4Bits(codes, INTEGERS);
  return element === "e2m1" || element === "e2m3" ? codesOfBits(element, codes) : codes;
}

/** Values of a strip, rounded once to `type`; in `out` where the engine can put them there. */
export function dequantizeRows(
  rows: ScaledRows,
  type: ValueType,
  engine: Engine,
  out?: Float32Array | Uint16Array,
): Float32Array | Uint16Array {
  if (rows.fnuz) return dequantizeFnuz(rows, type, engine);
  return engine.dequantize(rows, type, out === undefined ? {} : { out });
}

/**
 * AMD's FNUZ formats have an exponent bias of one more, no infinity, and 0x80 as their only NaN. A code is
 * thus the OCP code at half the scale, but for the largest binade, whose patterns OCP uses for Inf and NaN:
 * those are the OCP code one binade lower at the full scale. Both products are exact in the engine.
 */
function dequantizeFnuz(rows: ScaledRows, type: ValueType, engine: Engine): Float32Array | Uint16Array {
  const { format, codes } = rows;
  const scales = scaleValues(rows.scales);
  const { mantissaBits, topCode } = FORMATS[format];
  const binade = 1 << mantissaBits;
  const usual = codes.map((code) => (code === 0x80 ? NAN_CODE : (code & 0x7f) > topCode ? 0 : code));
  const values = engine.dequantize({ ...rows, codes: usual, scales: scales.map((scale) => scale / 2) }, type);
  if (!codes.some((code) => (code & 0x7f) > topCode)) return values;
  const lower = codes.map((code) => ((code & 0x7f) > topCode ? code - binade : 0));
  const largest = engine.dequantize({ ...rows, codes: lower, scales }, type);
  for (let i = 0; i < codes.length; i++) if (lower[i] !== 0) values[i] = largest[i]!;
  return values;
}
