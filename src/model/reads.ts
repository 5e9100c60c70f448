import { widen } from "../checkpoint/read/values.ts";
import { ELEMENTS, matrixOf, type PlainWeight, type ScaledWeight } from "../checkpoint/read/weights.ts";
import { dequantizeRows, readPlainRows, readScaledRows, type ScaledRows } from "../checkpoint/run/rows.ts";
import type { Engine } from "../engine/engine.ts";
import type { Source } from "../io/source.ts";
import { GROUP } from "../products/pack-integers.ts";
import { FORMAT_ID, SCALE_TYPE_ID, VALUE_TYPE_ID, type ValueTypeId } from "../tensor/formats.ts";
import { transposed } from "../tensor/transpose.ts";
import type { DeclaredRows, LoadedRows } from "./loaded-tensor.ts";
import type { Located, Weight } from "./locate.ts";
import type { Range, Team } from "./team.ts";
import type { ModelTensor } from "./tensors.ts";

/** Bytes of one read. */
const READ_BYTES = 2 ** 23;

export interface ReadContext {
  readonly sources: readonly Source[];
  readonly engine: Engine;
}

/** What one member keeps of a tensor, and the reads that fetch it. */
interface MemberReads {
  readonly declared: DeclaredRows;
  readonly reads: readonly (() => Promise<LoadedRows>)[];
}

/** Describes the rows of a tensor that a member keeps, and gives the reads that fetch them. */
export async function readsOf(
  { tensor, weight }: Located,
  team: Team,
  context: ReadContext,
): Promise<MemberReads> {
  if (tensor.keptAs === "vector") return vectorReads(tensor, weight, context);
  if (tensor.keptAs === "to latent" || tensor.keptAs === "from latent")
    return latentReads(tensor, weight, team, context);
  if (tensor.keptAs === "stack" && (weight.kind === "plain" || !weight.transposed))
    return transposedReads(tensor, weight, team, context);
  if (weight.kind === "plain") return plainReads(tensor, weight, team, context);
  if (weight.element.endsWith("fnuz")) return decodedReads(tensor, weight, team, context);
  return scaledReads(tensor, weight, team, context);
}

/** @param as the shape in memory, where that differs from the file */
function declaredOf(
  tensor: ModelTensor,
  { name, shape }: Weight,
  range: Range,
  inFile: DeclaredRows["inFile"],
  sizes: Partial<Pick<DeclaredRows, "slices" | "cols" | "totalRows">> = {},
): DeclaredRows {
  const { slices, rows, cols } = matrixOf(shape);
  const size = { slices, cols, totalRows: rows, ...sizes };
  return { key: tensor.key, name, isMultiplied: tensor.isMultiplied, range, inFile, ...size };
}

/** Pieces of the rows `start` to `end` of every slice, each of whole groups: one to a read. */
function piecesOf(
  slices: number,
  { start, end }: Range,
  rowBytes: number,
): { slice: number; from: number; to: number }[] {
  const height = GROUP * Math.max(1, Math.floor(READ_BYTES / Math.max(1, GROUP * rowBytes)));
  const pieces: { slice: number; from: number; to: number }[] = [];
  for (let slice = 0; slice < slices; slice++)
    for (let from = start; from < end; from += height)
      pieces.push({ slice, from, to: Math.min(end, from + height) });
  return pieces;
}

function plainReads(
  tensor: ModelTensor,
  weight: PlainWeight,
  team: Team,
  { sources }: ReadContext,
): MemberReads {
  const { slices, cols } = matrixOf(weight.shape);
  const range = tensor.rows(team);
  const type = VALUE_TYPE_ID[weight.type];
  const rowBytes = cols * (type === 0 ? 4 : 2);
  const reads = piecesOf(slices, range, rowBytes).map(
    ({ slice, from, to }) =>
      async (): Promise<LoadedRows> => {
        const bytes = await readPlainRows(weight, { slice, firstRow: from, rows: to - from }, sources);
        return { key: tensor.key, slice, first: from, values: bytes, scales: null };
      },
  );
  return { declared: declaredOf(tensor, weight, range, { kind: "plain", type }), reads };
}

function scaledReads(
  tensor: ModelTensor,
  weight: ScaledWeight,
  team: Team,
  { sources }: ReadContext,
): MemberReads {
  const { slices, cols } = matrixOf(weight.shape);
  const range = tensor.rows(team);
  const { block } = weight;
  const scaleType = SCALE_TYPE_ID[weight.scaleType === "ue8m0" ? "ue8m0" : "f32"];
  const reads = piecesOf(slices, range, cols).map(({ slice, from, to }) => async (): Promise<LoadedRows> => {
    const rows = await readScaledRows(weight, { slice, firstRow: from, rows: to - from }, sources);
    const { buffer, byteOffset, byteLength } = rows.scales;
    const scales = new Uint8Array(buffer, byteOffset, byteLength);
    return { key: tensor.key, slice, first: from, values: rows.codes, scales };
  });
  const { format: element, codeBits } = ELEMENTS[weight.element];
  const [format, isSubByte] = [FORMAT_ID[element], codeBits < 8];
  return {
    declared: declaredOf(tensor, weight, range, { kind: "scaled", format, isSubByte, scaleType, block }),
    reads,
  };
}

const F32 = VALUE_TYPE_ID.f32;

/** Rows of any weight as float32. */
async function valuesOf(
  weight: Weight,
  slice: number,
  { start, end }: Range,
  { sources, engine }: ReadContext,
): Promise<Float32Array> {
  const strip = { slice, firstRow: start, rows: end - start };
  if (weight.kind === "plain") {
    const bytes = await readPlainRows(weight, strip, sources);
    return widen(weight.type, bytes, new Float32Array(bytes.length / (weight.type === "f32" ? 4 : 2)));
  }
  return dequantizeInBlock(await readScaledRows(weight, strip, sources), start, engine);
}

/**
 * Dequantises rows that may begin inside a block: the engine takes whole
 * blocks, so zeros stand in for the rows before.
 */
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

async function vectorReads(tensor: ModelTensor, weight: Weight, context: ReadContext): Promise<MemberReads> {
  const { slices, rows, cols } = matrixOf(weight.shape);
  const read = await valuesOf(weight, 0, { start: 0, end: slices * rows }, context);
  const { offset = 0 } = tensor;
  const values = offset === 0 ? read : read.map((value) => value + offset);
  const size = { slices: 1, cols: slices * rows * cols, totalRows: 1 };
  const declared = declaredOf(tensor, weight, { start: 0, end: 1 }, { kind: "plain", type: F32 }, size);
  return { declared, reads: [async () => fillingOf(tensor.key, 0, 0, values)] };
}

function fillingOf(key: string, slice: number, first: number, rows: Float32Array | Uint16Array): LoadedRows {
  const values = new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength);
  return { key, slice, first, values, scales: null };
}

/** Rows of codes that no kernel multiplies, as float32. */
function decodedReads(
  tensor: ModelTensor,
  weight: ScaledWeight,
  team: Team,
  context: ReadContext,
): MemberReads {
  const { slices, cols } = matrixOf(weight.shape);
  const range = tensor.rows(team);
  const reads = piecesOf(slices, range, 4 * cols).map(
    ({ slice, from, to }) =>
      async (): Promise<LoadedRows> => {
        const values = await valuesOf(weight, slice, { start: from, end: to }, context);
        return fillingOf(tensor.key, slice, from, values);
      },
  );
  return { declared: declaredOf(tensor, weight, range, { kind: "plain", type: F32 }), reads };
}

/**
 * The matrices of each head that `kv_b_proj` [heads * (unrotated + value), rank] is made of: to
 * the latent space [rank, unrotated], which is transposed, and from it [value, rank]. As bfloat16
 * where that holds their values, else float32.
 */
async function latentReads(
  tensor: ModelTensor,
  weight: Weight,
  team: Team,
  context: ReadContext,
): Promise<MemberReads> {
  const heads = tensor.rows(team);
  const total = tensor.rows({ member: 0, size: 1 }).end;
  const [rows, rank] = weight.shape as [number, number];
  const perHead = rows / total;
  const unrotated = tensor.unrotatedDim ?? 0;
  const isTo = tensor.keptAs === "to latent";
  const height = isTo ? unrotated : perHead - unrotated;
  const isShort = holdsInBf16(weight);
  const type: ValueTypeId = isShort ? VALUE_TYPE_ID.bf16 : F32;
  const count = heads.end - heads.start;
  const kept = isTo ? rank : height;
  const size = { slices: count, cols: isTo ? unrotated : rank, totalRows: kept };
  const declared = declaredOf(tensor, weight, { start: 0, end: kept }, { kind: "plain", type }, size);
  const reads = Array.from({ length: count }, (_, i) => async (): Promise<LoadedRows> => {
    const first = (heads.start + i) * perHead + (isTo ? 0 : unrotated);
    const values = await valuesOf(weight, 0, { start: first, end: first + height }, context);
    const matrix = isTo ? transposed(values, height, rank) : values;
    return fillingOf(tensor.key, i, 0, isShort ? upperHalves(matrix) : matrix);
  });
  return { declared, reads };
}

/** Whether bfloat16 holds every value: it has FP8's significand, and any power of two that is not far out. */
function holdsInBf16(weight: Weight): boolean {
  return weight.kind === "plain" ? weight.type === "bf16" : weight.scaleType === "ue8m0";
}

function upperHalves(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(words, (word) => word >>> 16);
}

/**
 * Experts [experts, in, out], of which each becomes [out, in]; codes become
 * float32, since their blocks would lie across.
 */
function transposedReads(tensor: ModelTensor, weight: Weight, team: Team, context: ReadContext): MemberReads {
  const { slices, rows: inner, cols: outer } = matrixOf(weight.shape);
  const range = tensor.rows(team);
  const isShort = weight.kind === "plain" && weight.type !== "f32";
  const reads = Array.from({ length: slices }, (_, slice) => async (): Promise<LoadedRows> => {
    const values = isShort
      ? await halvesOf(weight, slice, context)
      : await valuesOf(weight, slice, { start: 0, end: inner }, context);
    const rows = transposed(values, inner, outer).subarray(range.start * inner, range.end * inner);
    return fillingOf(tensor.key, slice, range.start, rows);
  });
  const type = isShort ? VALUE_TYPE_ID[weight.type] : F32;
  const size = { cols: inner, totalRows: outer };
  return { declared: declaredOf(tensor, weight, range, { kind: "plain", type }, size), reads };
}

async function halvesOf(weight: PlainWeight, slice: number, { sources }: ReadContext): Promise<Uint16Array> {
  const { rows, cols } = matrixOf(weight.shape);
  const bytes = await readPlainRows(weight, { slice, firstRow: 0, rows }, sources);
  return new Uint16Array(bytes.buffer, bytes.byteOffset, rows * cols);
}
