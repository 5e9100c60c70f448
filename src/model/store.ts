import { keepLists, MARGIN, type Surveyed, surveyEach, type Weights } from "../products/right.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { FormatId, ScaleTypeId, ValueTypeId } from "../tensor/formats.ts";
import { VALUE_TYPE_ID } from "../tensor/formats.ts";
import type { Arena, Resident } from "../wasm/arena.ts";
import type { ModelKernels } from "./kernels.ts";
import type { Range } from "./share.ts";

/** The rows of a tensor that one member holds, before any of its bytes have come. A plain record. */
export interface Declared {
  readonly key: string;
  /** What it is called in the checkpoint. */
  readonly name: string;
  /** Matrices of `[rows, cols]` in it: the experts of a stack, else 1. */
  readonly slices: number;
  readonly cols: number;
  /** Which rows of each slice these are, of how many. */
  readonly range: Range;
  readonly totalRows: number;
  readonly stored:
    | { readonly kind: "plain"; readonly type: ValueTypeId }
    | {
        readonly kind: "scaled";
        readonly format: FormatId;
        readonly scaleType: ScaleTypeId;
        readonly block: readonly [number, number];
      };
}

/** Bytes for a tensor that was declared: codes or values, or scales, of one slice from a row on. */
export interface Filling {
  readonly key: string;
  readonly slice: number;
  readonly part: "values" | "scales";
  /** In bytes, from the beginning of the slice's part. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** A tensor in memory. */
export interface Placed {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  readonly range: Range;
  readonly totalRows: number;
  readonly slices: readonly Slice[];
}

export type Slice =
  | ({ readonly kind: "scaled" } & Surveyed)
  | { readonly kind: "plain"; readonly type: ValueTypeId; readonly start: number };

interface Pending {
  readonly declared: Declared;
  readonly room: Resident;
  /** Of a slice's values, and from one slice to the next. */
  readonly valueBytes: number;
  readonly scalesAt: number;
  readonly scaleBytes: number;
}

/** The weights of a model, or one member's share of them, in the memory of the kernels. */
export class Store {
  readonly #kernels: ModelKernels;
  readonly #arena: Arena;
  readonly #isForProducts: boolean;
  readonly #pending = new Map<string, Pending>();
  readonly #placed = new Map<string, Placed>();
  readonly #rooms = new Map<string, Resident[]>();

  /** @param isForProducts whether codes are made ready for products, or stay as they are in the files */
  constructor(kernels: ModelKernels, arena: Arena, isForProducts = true) {
    this.#kernels = kernels;
    this.#arena = arena;
    this.#isForProducts = isForProducts;
  }

  /**
   * Makes room for a tensor.
   * @throws BlockscaleError `memory`
   */
  declare(declared: Declared): void {
    const { key, range, cols, slices, stored } = declared;
    const count = (range.end - range.start) * cols;
    const valueBytes = count * (stored.kind === "scaled" ? 1 : stored.type === VALUE_TYPE_ID.f32 ? 4 : 2);
    const scaleBytes = stored.kind === "plain" ? 0 : scaleBytesOf(stored, range, cols);
    const scalesAt = Math.ceil((slices * valueBytes + MARGIN) / 4) * 4;
    const room = this.#arena.keep(scalesAt + slices * scaleBytes);
    this.#rooms.set(key, [room]);
    this.#pending.set(key, { declared, room, valueBytes, scalesAt, scaleBytes });
  }

  fill({ key, slice, part, offset, bytes }: Filling): void {
    const { room, valueBytes, scalesAt, scaleBytes } = this.#pendingOf(key);
    const at =
      part === "values" ? room.start + slice * valueBytes : room.start + scalesAt + slice * scaleBytes;
    new Uint8Array(this.#arena.buffer, at + offset, bytes.length).set(bytes);
  }

  /** All bytes of a tensor have come: from now on it can be used. */
  seal(key: string): void {
    const { declared, room, valueBytes, scalesAt, scaleBytes } = this.#pendingOf(key);
    const { name, range, cols, slices: count, stored, totalRows } = declared;
    const rows = range.end - range.start;
    const numbers = Array.from({ length: count }, (_, i) => i);
    const slices: Slice[] =
      stored.kind === "plain"
        ? numbers.map((i) => ({ kind: "plain", type: stored.type, start: room.start + i * valueBytes }))
        : this.#survey(
            key,
            numbers.map((i) => ({
              types: [stored.format, stored.scaleType],
              place: [
                room.start + i * valueBytes,
                room.start + scalesAt + i * scaleBytes,
                range.start % stored.block[0],
                rows,
                cols,
                ...stored.block,
              ],
            })),
          );
    this.#pending.delete(key);
    this.#placed.set(key, { name, rows, cols, range, totalRows, slices });
  }

  #survey(key: string, weights: readonly Weights[]): Slice[] {
    const survey = { lowestScale: 0, highestScale: 0, farRows: [], list: 0 };
    if (!this.#isForProducts) return weights.map((slice) => ({ kind: "scaled", ...slice, survey }));
    const keep = (bytes: number): number => {
      const room = this.#arena.keep(bytes);
      this.#rooms.get(key)!.push(room);
      return room.start;
    };
    return surveyEach(this.#kernels, this.#arena, weights).map((found) => {
      if (found.survey.farRows.length > 0) return this.#asValues(found.weights, keep);
      const [slice] = keepLists(this.#kernels, this.#arena, [found], keep);
      return { kind: "scaled", ...slice! };
    });
  }

  /** Rows that hold NaN, or leave float32, are for no product of codes: the few slices with such rows become float32. */
  #asValues({ types, place }: Weights, keep: (bytes: number) => number): Slice {
    const [codes, scales, firstRow, rows, cols, blockRows, blockCols] = place;
    const start = keep(4 * rows * cols);
    const scaleRow = Math.ceil(cols / blockCols) * (types[1] === 0 ? 1 : 4);
    for (let row = 0; row < rows; row++) {
      const at = scales + Math.floor((firstRow + row) / blockRows) * scaleRow;
      const dst = start + 4 * row * cols;
      this.#kernels.dequantize(types[0], 0, types[1], dst, codes + row * cols, at, 1, cols, 1, blockCols);
    }
    return { kind: "plain", type: VALUE_TYPE_ID.f32, start };
  }

  #pendingOf(key: string): Pending {
    const found = this.#pending.get(key);
    if (found === undefined) throw new Error(`no tensor ${key} is being loaded`);
    return found;
  }

  has(key: string): boolean {
    return this.#placed.has(key);
  }

  /**
   * A tensor by its key.
   * @throws BlockscaleError `dialect`: the checkpoint has none
   */
  get(key: string): Placed {
    const placed = this.#placed.get(key);
    if (placed !== undefined) return placed;
    throw new BlockscaleError("internal", {
      where: "model",
      expected: `the tensor ${key}`,
      got: "none",
      fix: "Please report this.",
    });
  }

  /** Where the float32 values of a vector are; 0 if there is none by this key. */
  vector(key: string): number {
    const slice = this.#placed.get(key)?.slices[0];
    return slice?.kind === "plain" ? slice.start : 0;
  }

  /** Gives back the room of all tensors whose keys begin so. */
  drop(prefix: string): void {
    for (const [key, rooms] of this.#rooms) {
      if (!key.startsWith(prefix)) continue;
      for (const room of rooms) this.#arena.release(room);
      this.#rooms.delete(key);
      this.#placed.delete(key);
      this.#pending.delete(key);
    }
  }
}

/** Bytes of the scales of some rows of a slice: those of all blocks that they touch. */
function scaleBytesOf(
  { scaleType, block }: { scaleType: ScaleTypeId; block: readonly [number, number] },
  { start, end }: Range,
  cols: number,
): number {
  const gridRows = end > start ? Math.ceil(end / block[0]) - Math.floor(start / block[0]) : 0;
  return gridRows * Math.ceil(cols / block[1]) * (scaleType === 0 ? 1 : 4);
}
