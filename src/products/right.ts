import type { FormatId, ScaleTypeId } from "../tensor/formats.ts";
import { FORMAT_ID, SCALE_TYPE_ID, scaleTypeOf } from "../tensor/formats.ts";
import type { Format } from "../tensor/tensor.ts";
import type { Arena } from "../wasm/arena.ts";
import type { Kernels } from "../wasm/kernels.ts";

/** Rows of weights in an engine's memory: what `survey`, `gemm` and `dotFar` of Kernels have to know of them. */
export interface Weights {
  readonly types: readonly [format: FormatId, scale: ScaleTypeId];
  /** `firstRow` is the row of its block that the first one is. */
  readonly place: readonly [
    codes: number,
    scales: number,
    firstRow: number,
    rows: number,
    cols: number,
    blockRows: number,
    blockCols: number,
  ];
}

export function typesOf(format: Format, scales: Uint8Array | Float32Array): Weights["types"] {
  return [FORMAT_ID[format], SCALE_TYPE_ID[scaleTypeOf(scales)]];
}

/** What the kernels have found out about weights: see `survey` of Kernels. */
export interface Survey {
  readonly lowestScale: number;
  readonly highestScale: number;
  /** Rows that are computed in float64, since they hold NaN or leave float32. */
  readonly farRows: readonly number[];
  /** Where the list of subnormal codes is; 0 if there is none. */
  readonly list: number;
}

/** Weights that have been surveyed, and whose subnormal codes have been set aside. */
export type Surveyed = Weights & { readonly survey: Survey };

/** Bytes reserved behind codes: kernels read up to 15 past their end. They also read one byte before; that address is always valid. */
export const MARGIN = 16;

/** At most one code in so many of a row is kept in the list; rows with more are decoded by table. */
const LISTED = 64;

/** Bytes that `survey` needs for its record. */
export const recordBytes = (rows: number): number => 12 + rows;

/** Bytes of a list with `entries` subnormal codes. With 0 entries: only the row starts, which `survey` writes. */
export const listBytes = (rows: number, entries: number): number => 4 * (rows + 1 + entries);

/** Bytes of the longest list there can be. */
export const mostListBytes = (rows: number, cols: number): number =>
  listBytes(rows, Math.ceil((rows * cols) / LISTED));

/** Runs the kernel `survey` with room for its record and the beginning of a list. */
export function surveyOf(
  kernels: Kernels,
  arena: Arena,
  { types, place }: Weights,
  [record, list]: readonly [record: number, list: number],
): Survey {
  const count = kernels.survey(...types, record, list, ...place);
  const [lowestScale = 0, highestScale = 0, needsList] = new Int32Array(arena.buffer, record, 3);
  const flags = new Uint8Array(arena.buffer, record + 12, count > 0 ? place[3] : 0);
  const farRows = [...flags].flatMap((flag, row) => (flag ? [row] : []));
  return { lowestScale, highestScale, farRows, list: needsList ? list : 0 };
}

/** Moves subnormal codes to the list that the survey has begun, if there are any. */
export function setAside(kernels: Kernels, { types, place }: Weights, { list }: Survey): void {
  const [codes, , , rows, cols] = place;
  if (list !== 0) kernels.setAside(types[0], list, codes, rows, cols);
}

/** What a survey has found, and the beginning of the list that it asks for. */
export interface Found {
  readonly weights: Weights;
  readonly survey: Survey;
  readonly starts: Uint32Array;
}

/** Surveys each slice; nothing of it stays in memory. */
export function surveyEach(kernels: Kernels, arena: Arena, slices: readonly Weights[]): Found[] {
  return slices.map((weights) => {
    const rows = weights.place[3];
    const room = arena.frame([recordBytes(rows), listBytes(rows, 0)]) as [number, number];
    const survey = surveyOf(kernels, arena, weights, room);
    const starts = new Uint32Array(arena.buffer, room[1], survey.list === 0 ? 0 : rows + 1).slice();
    return { weights, survey, starts };
  });
}

/**
 * Sets the subnormal codes of surveyed slices aside, in lists that stay.
 * @param keep gives room that stays, by its size in bytes
 */
export function keepLists(
  kernels: Kernels,
  arena: Arena,
  found: readonly Found[],
  keep: (bytes: number) => number,
): Surveyed[] {
  const bytesOf = ({ starts }: Found) =>
    starts.length === 0 ? 0 : listBytes(starts.length - 1, starts.at(-1)!);
  const total = found.reduce((sum, one) => sum + bytesOf(one), 0);
  let end = total > 0 ? keep(total) : 0;
  return found.map((one) => {
    const { weights, starts } = one;
    const survey = { ...one.survey, list: starts.length === 0 ? 0 : end };
    end += bytesOf(one);
    if (starts.length > 0) new Uint32Array(arena.buffer, survey.list, starts.length).set(starts);
    setAside(kernels, weights, survey);
    return { ...weights, survey };
  });
}
