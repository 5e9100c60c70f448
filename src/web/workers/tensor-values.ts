import type { Strip } from "../../checkpoint/plan/strip.ts";
import { stripsOf } from "../../checkpoint/plan/strip.ts";
import type { StoredTensor } from "../../checkpoint/read/checkpoint.ts";
import { VALUE_BYTES, widen } from "../../checkpoint/read/values.ts";
import {
  countOf,
  type PlainWeight,
  plainShape,
  type ScaledWeight,
  storedTensorsOf,
  type Weight,
} from "../../checkpoint/read/weights.ts";
import { readRange, type Source } from "../../io/source.ts";
import type { StripPool } from "./pool.ts";
import type { Moments, TensorBasics } from "./protocol.ts";
import { thinOut } from "./sampling.ts";

/** Values of a tensor that are shown, and most values for its statistics. */
const FIRST = 8;
const LOOKED_AT = 1 << 23;

/** Types of NumPy by those of safetensors. Values of other types (BF16, codes) become float32. */
const NPY_TYPES: Readonly<Record<string, string>> = {
  F64: "<f8",
  F32: "<f4",
  F16: "<f2",
  I64: "<i8",
  U64: "<u8",
  I32: "<i4",
  U32: "<u4",
  I16: "<i2",
  U16: "<u2",
  I8: "|i1",
  U8: "|u1",
  BOOL: "|b1",
};

/**
 * Statistics and first values of a tensor: of all values, or of strips spread over it where there are too
 * many.
 */
export async function basicsOf(
  weight: Weight,
  pool: StripPool,
  sources: readonly Source[],
): Promise<TensorBasics> {
  const [place] = storedTensorsOf(weight);
  if (weight.kind === "other") {
    return {
      moments: null,
      first: await firstOf(place, sources),
      hasNpy: NPY_TYPES[place.dtype] !== undefined,
    };
  }
  const all = stripsIn(weight);
  if (all.length === 0) return { moments: null, first: [], hasNpy: true };
  const strips = thinOut(all, countOf(weight.shape) / all.reduce((n, { rows }) => n + rows, 0), LOOKED_AT);
  const [moments, head] = [new Sums(), await valuesOf(weight, strips[0]!, pool)];
  moments.add(head);
  for (const strip of strips.slice(1)) moments.add(await valuesOf(weight, strip, pool));
  const first = [...head.subarray(0, FIRST)].map((value) => String(Number(value.toPrecision(5))));
  return { moments: moments.result(strips.length === all.length), first, hasNpy: true };
}

/** A tensor in NumPy's format: as stored where NumPy has the type, else as float32. */
export async function npyOf(
  weight: Weight,
  pool: StripPool,
  sources: readonly Source[],
): Promise<Blob | null> {
  const [place] = storedTensorsOf(weight);
  const type = NPY_TYPES[place.dtype];
  const source = sources[place.shard]!;
  if (weight.kind === "other" || (weight.kind === "plain" && type !== undefined)) {
    if (type === undefined) return null;
    const bytes =
      source instanceof Blob
        ? source.slice(place.start, place.end)
        : await readRange(place.name, source, place.start, place.end);
    return new Blob([npyHeader(type, place.shape), bytes as Blob | Uint8Array<ArrayBuffer>]);
  }
  const parts: Blob[] = [];
  for (const strip of stripsIn(weight)) {
    // A Blob of each part, so that the browser may put it on disk.
    parts.push(new Blob([(await valuesOf(weight, strip, pool)) as Float32Array<ArrayBuffer>]));
  }
  return new Blob([npyHeader("<f4", weight.kind === "plain" ? weight.shape : plainShape(weight)), ...parts]);
}

const into = { kind: "plain", dtype: "F32" } as const;

const stripsIn = (from: PlainWeight | ScaledWeight): Strip[] => [...stripsOf({ from, into })];

async function valuesOf(
  from: PlainWeight | ScaledWeight,
  strip: Strip,
  pool: StripPool,
): Promise<Float32Array> {
  const { values } = await pool.convert({ from, into }, strip, { keepCodes: false });
  const type = from.kind === "plain" ? from.type : "f32";
  return widen(type, values, new Float32Array(values.length / VALUE_BYTES[type]));
}

/** Sums of finite values, in float64. */
class Sums {
  private count = 0;
  private sum = 0;
  private squares = 0;
  private least = Infinity;
  private most = -Infinity;

  add(values: Float32Array): void {
    for (const value of values) {
      if (!Number.isFinite(value)) continue;
      this.count++;
      this.sum += value;
      this.squares += value * value;
      if (value < this.least) this.least = value;
      if (value > this.most) this.most = value;
    }
  }

  result(isAll: boolean): Moments | null {
    if (this.count === 0) return null;
    const mean = this.sum / this.count;
    const deviation = Math.sqrt(Math.max(0, this.squares / this.count - mean * mean));
    return { least: this.least, most: this.most, mean, deviation, isAll };
  }
}

/** The first values of a tensor of integers or float64, as text. */
async function firstOf(place: StoredTensor, sources: readonly Source[]): Promise<string[]> {
  const count = Math.min(FIRST, countOf(place.shape));
  const width = count === 0 ? 0 : (place.end - place.start) / countOf(place.shape);
  const read = READERS[place.dtype];
  if (read === undefined || count === 0) return [];
  const bytes = await readRange(place.name, sources[place.shard]!, place.start, place.start + count * width);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: count }, (_, i) => String(read(view, i * width)));
}

const READERS: Readonly<Record<string, (view: DataView, at: number) => number | bigint>> = {
  F64: (view, at) => view.getFloat64(at, true),
  I64: (view, at) => view.getBigInt64(at, true),
  U64: (view, at) => view.getBigUint64(at, true),
  I32: (view, at) => view.getInt32(at, true),
  U32: (view, at) => view.getUint32(at, true),
  I16: (view, at) => view.getInt16(at, true),
  U16: (view, at) => view.getUint16(at, true),
  I8: (view, at) => view.getInt8(at),
  U8: (view, at) => view.getUint8(at),
  BOOL: (view, at) => view.getUint8(at),
};

/** Magic, version 1.0, and the description, padded so that data starts at a multiple of 64: NEP 1. */
function npyHeader(type: string, shape: readonly number[]): Uint8Array<ArrayBuffer> {
  const dims = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const text = `{'descr': '${type}', 'fortran_order': False, 'shape': (${dims}), }`;
  const length = Math.ceil((10 + text.length + 1) / 64) * 64;
  const header = new Uint8Array(length).fill(0x20);
  header.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, (length - 10) & 0xff, (length - 10) >> 8]);
  header.set(new TextEncoder().encode(text), 10);
  header[length - 1] = 0x0a;
  return header;
}
