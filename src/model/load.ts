import type { OpenedCheckpoint } from "../checkpoint/plan/folder.ts";
import { resolve } from "../checkpoint/read/resolve.ts";
import { widen } from "../checkpoint/read/values.ts";
import { matrixOf, type PlainWeight, plainShape, type ScaledWeight } from "../checkpoint/read/weights.ts";
import { dequantizeRows, readPlainRows, readScaledRows, type ScaledRows } from "../checkpoint/run/rows.ts";
import type { Engine } from "../engine/engine.ts";
import { giveBack, type Source } from "../io/source.ts";
import { shapeNamed, tensorNamed } from "../safetensors/names.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { FORMAT_ID, SCALE_TYPE_ID, VALUE_TYPE_ID, type ValueTypeId } from "../tensor/formats.ts";
import { transposed } from "../tensor/transpose.ts";
import type { ModelConfig } from "./config.ts";
import type { Range, Seat } from "./share.ts";
import type { Declared, Filling } from "./store.ts";
import { PREFIXES, tensorsOf, type WantedTensor } from "./tensors.ts";

type Weight = PlainWeight | ScaledWeight;

/** A member that takes its share of weights in. */
export interface Taker {
  declare(declared: Declared): void | Promise<void>;
  fill(filling: Filling): void | Promise<void>;
  seal(key: string): void | Promise<void>;
}

export interface LoadProgress {
  /** Bytes of weights that are in memory, of all there are. */
  readonly done: number;
  readonly total: number;
}

/** A tensor that is asked for, and where it is. */
export interface Located {
  readonly wanted: WantedTensor;
  readonly weight: Weight;
}

/**
 * Finds the tensors that a model asks for.
 * @throws BlockscaleError `dialect`: one is missing, has another shape, or is in a format that is not read
 */
export function locate(config: ModelConfig, opened: OpenedCheckpoint): Located[] {
  const { weights, foreign } = resolve(opened.checkpoint);
  const byName = new Map(weights.map((weight) => [weight.name, weight]));
  const wanted = tensorsOf(config);
  const prefix = prefixOf(wanted[0]!, byName);
  const named = (name: string) => (name.startsWith("/") ? name.slice(1) : prefix + name);
  return wanted.flatMap((tensor) => {
    const found = tensor.names.map((name) => byName.get(named(name))).find((weight) => weight !== undefined);
    if (found === undefined && tensor.isOptional) return [];
    if (found === undefined || found.kind === "other") {
      const strange = foreign.find(({ place }) =>
        place.name.startsWith(named(tensor.names[0]!).replace(/weight$/, "")),
      );
      throw missing(named(tensor.names[0]!), strange?.place.name);
    }
    checkShape(tensor, found);
    return [{ wanted: tensor, weight: found }];
  });
}

/** The prefix under which the first tensor of a model is found. */
function prefixOf({ names }: WantedTensor, byName: ReadonlyMap<string, unknown>): string {
  return PREFIXES.find((prefix) => byName.has(prefix + names[0]!)) ?? PREFIXES[0]!;
}

function missing(name: string, strange: string | undefined): BlockscaleError {
  return new BlockscaleError("dialect", {
    where: tensorNamed(name),
    expected: "it in the checkpoint, in a format that is read here",
    got: strange === undefined ? "none" : `${tensorNamed(strange)}, of another quantisation`,
    fix:
      strange === undefined
        ? "Fetch the missing shard."
        : "Use a BF16, FP8, MXFP4 or NVFP4 copy of the model.",
  });
}

function checkShape({ shape, as }: WantedTensor, weight: Weight): void {
  // Plain stacks have rows and columns exchanged; codes of the same are not.
  const turned = as === "stack" ? [shape[0]!, shape[2]!, shape[1]!] : shape;
  const found = as === "stack" ? plainShape(weight) : weight.shape;
  // How many rows the table of types has is of no concern.
  const fits =
    found.length === turned.length &&
    found.every((size, i) => size === turned[i] || (i === 0 && turned[0] === 0));
  if (fits) return;
  throw new BlockscaleError("dialect", {
    where: tensorNamed(weight.name),
    expected: `${shapeNamed(turned)}, as config.json says`,
    got: shapeNamed(found),
    fix: "config.json and the weights belong to different models: fetch both from one place.",
  });
}

/** Bytes read at a time. */
const PIECE = 2 ** 23;

/** Reads under way at a time. */
const AHEAD = 4;

type Job = () => Promise<void>;

/**
 * Brings the weights to the members, each byte from its file to its place, a few megabytes at a time.
 * @param engine decodes what cannot stay as it is
 * @throws BlockscaleError `io`, `dialect`, `memory`
 */
export async function loadWeights(
  located: readonly Located[],
  takers: readonly Taker[],
  {
    sources,
    engine,
    signal,
    onProgress,
  }: {
    readonly sources: readonly Source[];
    readonly engine: Engine;
    readonly signal?: AbortSignal | undefined;
    readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  },
): Promise<void> {
  const total = located.reduce((sum, { weight }) => sum + bytesOf(weight), 0);
  let done = 0;
  for (const one of located) {
    const jobs: Job[] = [];
    const share = bytesOf(one.weight) / takers.length;
    for (const [rank, taker] of takers.entries()) {
      const parts = await partsOf(one, { rank, size: takers.length }, { sources, engine });
      await taker.declare(parts.declared);
      for (const piece of parts.pieces) {
        jobs.push(async () => {
          for (const filling of await piece()) {
            await taker.fill(filling);
            // Empty by now, if it went to a worker.
            giveBack(filling.bytes);
          }
          done += share / parts.pieces.length;
          onProgress?.({ done: Math.min(total, Math.round(done)), total });
        });
      }
    }
    await runAll(jobs, signal);
    for (const taker of takers) await taker.seal(one.wanted.key);
  }
}

/** Runs jobs in their order, a few at a time. */
async function runAll(jobs: readonly Job[], signal: AbortSignal | undefined): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < jobs.length) {
      signal?.throwIfAborted();
      await jobs[next++]!();
    }
  };
  await Promise.all(Array.from({ length: Math.min(AHEAD, jobs.length) }, lane));
}

function bytesOf(weight: Weight): number {
  const place = weight.kind === "plain" ? weight.values : weight.codes;
  return place.end - place.start;
}

/** Bytes that a tensor takes in memory. */
export function memoryOf({ wanted, weight }: Located): number {
  const count = weight.shape.reduce((product, size) => product * size, 1);
  if (wanted.as === "vector") return 4 * count;
  if (weight.kind === "plain") return count * (weight.type === "f32" ? 4 : 2);
  if (wanted.as !== "matrix" && !weight.transposed) return 4 * count;
  const { scales } = weight;
  const width = weight.scaleType === "ue8m0" ? 1 : 4;
  const grid = scales === null ? 1 : scales.shape.reduce((product, size) => product * size, 1);
  return count + grid * width;
}

/** Whether a tensor is multiplied by, and is not one to look up in, nor a router, whose choices should stay what they are. */
function isMultiplied({ as, key }: WantedTensor): boolean {
  if (as === "stack") return true;
  return as === "matrix" && !/^(embedding|words|positions|types)$|\.router$/.test(key);
}

interface Context {
  readonly sources: readonly Source[];
  readonly engine: Engine;
}

interface Parts {
  readonly declared: Declared;
  readonly pieces: readonly (() => Promise<Filling[]>)[];
}

/** What a member keeps of a tensor, and the reads that bring it. */
async function partsOf({ wanted, weight }: Located, seat: Seat, context: Context): Promise<Parts> {
  if (wanted.as === "vector") return vectorParts(wanted, weight, context);
  if (wanted.as === "to latent" || wanted.as === "from latent")
    return latentParts(wanted, weight, seat, context);
  if (wanted.as === "stack" && (weight.kind === "plain" || !weight.transposed))
    return turnedParts(wanted, weight, seat, context);
  if (weight.kind === "plain") return plainParts(wanted, weight, seat, context);
  if (weight.element.endsWith("fnuz")) return decodedParts(wanted, weight, seat, context);
  return scaledParts(wanted, weight, seat, context);
}

function declaredOf(
  wanted: WantedTensor,
  { name, shape }: Pick<Weight, "name" | "shape">,
  range: Range,
  stored: Declared["stored"],
): Declared {
  const { slices, rows, cols } = matrixOf(shape);
  return {
    key: wanted.key,
    name,
    slices,
    cols,
    isMultiplied: isMultiplied(wanted),
    range,
    totalRows: rows,
    stored,
  };
}

/** The same rows of every slice, in pieces. */
function cut(
  slices: number,
  { start, end }: Range,
  rowBytes: number,
): { slice: number; from: number; to: number }[] {
  const height = Math.max(1, Math.floor(PIECE / Math.max(1, rowBytes)));
  const pieces: { slice: number; from: number; to: number }[] = [];
  for (let slice = 0; slice < slices; slice++)
    for (let from = start; from < end; from += height)
      pieces.push({ slice, from, to: Math.min(end, from + height) });
  return pieces;
}

function plainParts(wanted: WantedTensor, weight: PlainWeight, seat: Seat, { sources }: Context): Parts {
  const { slices, cols } = matrixOf(weight.shape);
  const range = wanted.rows(seat);
  const type = VALUE_TYPE_ID[weight.type];
  const rowBytes = cols * (type === 0 ? 4 : 2);
  const pieces = cut(slices, range, rowBytes).map(({ slice, from, to }) => async (): Promise<Filling[]> => {
    const bytes = await readPlainRows(weight, { slice, firstRow: from, rows: to - from }, sources);
    return [{ key: wanted.key, slice, part: "values", offset: (from - range.start) * rowBytes, bytes }];
  });
  return { declared: declaredOf(wanted, weight, range, { kind: "plain", type }), pieces };
}

function scaledParts(wanted: WantedTensor, weight: ScaledWeight, seat: Seat, { sources }: Context): Parts {
  const { slices, cols } = matrixOf(weight.shape);
  const range = wanted.rows(seat);
  const { block } = weight;
  const scaleType = SCALE_TYPE_ID[weight.scaleType === "ue8m0" ? "ue8m0" : "f32"];
  const scaleRow = Math.ceil(cols / block[1]) * (scaleType === 0 ? 1 : 4);
  const firstScales = Math.floor(range.start / block[0]);
  const pieces = cut(slices, range, cols).map(({ slice, from, to }) => async (): Promise<Filling[]> => {
    const rows = await readScaledRows(weight, { slice, firstRow: from, rows: to - from }, sources);
    const { key } = wanted;
    return [
      { key, slice, part: "values", offset: (from - range.start) * cols, bytes: rows.codes },
      {
        key,
        slice,
        part: "scales",
        offset: (Math.floor(from / block[0]) - firstScales) * scaleRow,
        bytes: new Uint8Array(rows.scales.buffer, rows.scales.byteOffset, rows.scales.byteLength),
      },
    ];
  });
  const format = FORMAT_ID[weight.element.startsWith("e5m2") ? "e5m2" : "e4m3"];
  return {
    declared: declaredOf(wanted, weight, range, { kind: "scaled", format, scaleType, block }),
    pieces,
  };
}

const F32 = VALUE_TYPE_ID.f32;

/** Rows of any weight as float32. */
async function valuesOf(
  weight: Weight,
  slice: number,
  { start, end }: Range,
  { sources, engine }: Context,
): Promise<Float32Array> {
  const strip = { slice, firstRow: start, rows: end - start };
  if (weight.kind === "plain") {
    const bytes = await readPlainRows(weight, strip, sources);
    return widen(weight.type, bytes, new Float32Array(bytes.length / (weight.type === "f32" ? 4 : 2)));
  }
  return dequantizeInBlock(await readScaledRows(weight, strip, sources), start, engine);
}

/** Rows that may begin inside a block: the engine takes whole blocks, so zeros stand in for the rows before them. */
function dequantizeInBlock(rows: ScaledRows, start: number, engine: Engine): Float32Array {
  const before = start % rows.block[0];
  const [count, cols] = rows.shape as [number, number];
  if (before === 0 || rows.block[0] >= before + count) {
    const height = before === 0 ? rows.block[0] : count;
    return dequantizeRows({ ...rows, block: [height, rows.block[1]] }, "f32", engine) as Float32Array;
  }
  const codes = new Uint8Array((before + count) * cols);
  codes.set(rows.codes, before * cols);
  const values = dequantizeRows(
    { ...rows, shape: [before + count, cols], codes },
    "f32",
    engine,
  ) as Float32Array;
  return values.subarray(before * cols);
}

async function vectorParts(wanted: WantedTensor, weight: Weight, context: Context): Promise<Parts> {
  const { slices, rows, cols } = matrixOf(weight.shape);
  const values = await valuesOf(weight, 0, { start: 0, end: slices * rows }, context);
  const declared: Declared = {
    key: wanted.key,
    name: weight.name,
    isMultiplied: isMultiplied(wanted),
    slices: 1,
    cols: slices * rows * cols,
    range: { start: 0, end: 1 },
    totalRows: 1,
    stored: { kind: "plain", type: F32 },
  };
  return { declared, pieces: [async () => [fillingOf(wanted.key, 0, values)]] };
}

function fillingOf(key: string, slice: number, values: Float32Array | Uint16Array): Filling {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return { key, slice, part: "values", offset: 0, bytes };
}

/** Rows of codes that no kernel multiplies, as float32. */
function decodedParts(wanted: WantedTensor, weight: ScaledWeight, seat: Seat, context: Context): Parts {
  const { slices, cols } = matrixOf(weight.shape);
  const range = wanted.rows(seat);
  const pieces = cut(slices, range, 4 * cols).map(({ slice, from, to }) => async (): Promise<Filling[]> => {
    const values = await valuesOf(weight, slice, { start: from, end: to }, context);
    return [{ ...fillingOf(wanted.key, slice, values), offset: 4 * (from - range.start) * cols }];
  });
  return { declared: declaredOf(wanted, weight, range, { kind: "plain", type: F32 }), pieces };
}

/**
 * The matrices of each head that `kv_b_proj` [heads * (plain + value), rank] is made of: to the latent space [rank, plain], which is
 * turned, and from it [value, rank]. As bfloat16 where that holds their values, else float32.
 */
async function latentParts(
  wanted: WantedTensor,
  weight: Weight,
  seat: Seat,
  context: Context,
): Promise<Parts> {
  const heads = wanted.rows(seat);
  const total = wanted.rows({ rank: 0, size: 1 }).end;
  const [rows, rank] = weight.shape as [number, number];
  const perHead = rows / total;
  const plain = wanted.plainDim ?? 0;
  const isTo = wanted.as === "to latent";
  const height = isTo ? plain : perHead - plain;
  const isShort = holdsInBf16(weight);
  const type: ValueTypeId = isShort ? VALUE_TYPE_ID.bf16 : F32;
  const count = heads.end - heads.start;
  const declared: Declared = {
    key: wanted.key,
    name: weight.name,
    isMultiplied: isMultiplied(wanted),
    slices: count,
    cols: isTo ? plain : rank,
    range: isTo ? { start: 0, end: rank } : { start: 0, end: height },
    totalRows: isTo ? rank : height,
    stored: { kind: "plain", type },
  };
  const pieces = Array.from({ length: count }, (_, i) => async (): Promise<Filling[]> => {
    const first = (heads.start + i) * perHead + (isTo ? 0 : plain);
    const values = await valuesOf(weight, 0, { start: first, end: first + height }, context);
    const turned = isTo ? transposed(values, height, rank) : values;
    return [fillingOf(wanted.key, i, isShort ? upperHalves(turned) : turned)];
  });
  return { declared, pieces };
}

/** Whether bfloat16 holds every value: it has FP8's significand, and any power of two that is not far out. */
function holdsInBf16(weight: Weight): boolean {
  return weight.kind === "plain" ? weight.type === "bf16" : weight.scaleType === "ue8m0";
}

function upperHalves(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(words, (word) => word >>> 16);
}

/** Experts [experts, in, out], of which each becomes [out, in]; codes become float32, since their blocks would lie across. */
function turnedParts(wanted: WantedTensor, weight: Weight, seat: Seat, context: Context): Parts {
  const { slices, rows: inner, cols: outer } = matrixOf(weight.shape);
  const range = wanted.rows(seat);
  const isShort = weight.kind === "plain" && weight.type !== "f32";
  const pieces = Array.from({ length: slices }, (_, slice) => async (): Promise<Filling[]> => {
    const values = isShort
      ? await halvesOf(weight, slice, context)
      : await valuesOf(weight, slice, { start: 0, end: inner }, context);
    const turned = transposed(values, inner, outer).subarray(range.start * inner, range.end * inner);
    return [fillingOf(wanted.key, slice, turned)];
  });
  const declared: Declared = {
    key: wanted.key,
    name: weight.name,
    isMultiplied: isMultiplied(wanted),
    slices,
    cols: inner,
    range,
    totalRows: outer,
    stored: { kind: "plain", type: isShort ? VALUE_TYPE_ID[weight.type] : F32 },
  };
  return { declared, pieces };
}

async function halvesOf(weight: PlainWeight, slice: number, { sources }: Context): Promise<Uint16Array> {
  const { rows, cols } = matrixOf(weight.shape);
  const bytes = await readPlainRows(weight, { slice, firstRow: 0, rows }, sources);
  return new Uint16Array(bytes.buffer, bytes.byteOffset, rows * cols);
}
