import { packInt7 } from "../products/pack-integers.ts";
import { keepLists, MARGIN, type Surveyed, surveyEach } from "../products/right.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { FormatId, ScaleTypeId, ValueTypeId } from "../tensor/formats.ts";
import { VALUE_TYPE_ID } from "../tensor/formats.ts";
import type { Arena, Resident } from "../wasm/arena.ts";
import { type Matrix, matrixOf } from "../wasm/matrix.ts";
import type { ModelKernels } from "./kernels.ts";
import type { Range } from "./share.ts";

/** How weights lie in memory: codes as they are stored, or integers of 7 bits in blocks of 32 made from them. */
export type WeightForm = "codes" | "int7";

/** The rows of a tensor that one member holds, before any of its bytes have come. A plain record. */
export interface Declared {
  readonly key: string;
  /** What it is called in the checkpoint. */
  readonly name: string;
  /** Matrices of `[rows, cols]` in it: the experts of a stack, else 1. */
  readonly slices: number;
  readonly cols: number;
  /** Whether it is multiplied by, and not looked up in or of a router: only such weights may become integers. */
  readonly isMultiplied: boolean;
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
  | { readonly kind: "plain"; readonly type: ValueTypeId; readonly start: number }
  /** Integers of 7 bits in groups of twelve rows: see `packInt7` of the kernels, which find their matrix at a place. */
  | { readonly kind: "int7"; readonly at: number };

/** A slice as it was stored. */
type Stored =
  | { readonly kind: "plain"; readonly type: ValueTypeId; readonly start: number }
  | { readonly kind: "scaled"; readonly matrix: Matrix };

/** One row of a slice as float32. */
export function widenRow(
  kernels: ModelKernels,
  dst: number,
  stored: Stored,
  row: number,
  cols: number,
): void {
  if (stored.kind === "plain") {
    kernels.widen(stored.type, dst, stored.start + row * cols * (stored.type === 0 ? 4 : 2), cols);
    return;
  }
  const { format, scaleType, codes, scales, firstRow, blockRows, blockCols } = stored.matrix;
  const scaleRow = Math.ceil(cols / blockCols) * (scaleType === 0 ? 1 : 4);
  const at = scales + Math.floor((firstRow + row) / blockRows) * scaleRow;
  kernels.dequantize(format as FormatId, 0, scaleType, dst, codes + row * cols, at, 1, cols, 1, blockCols);
}

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
  readonly #weights: WeightForm | "files";
  readonly #pending = new Map<string, Pending>();
  readonly #placed = new Map<string, Placed>();
  readonly #rooms = new Map<string, Resident[]>();

  /** @param weights "codes": made ready for products; "int7": rounded to integers of 7 bits; "files": as they are in the files */
  constructor(kernels: ModelKernels, arena: Arena, weights: WeightForm | "files" = "codes") {
    this.#kernels = kernels;
    this.#arena = arena;
    this.#weights = weights;
  }

  /** Tensors of about so many bytes are going to be declared. */
  expect(bytes: number): void {
    this.#arena.expect(bytes);
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
    const places = Array.from({ length: count }, (_, i): Stored => {
      const start = room.start + i * valueBytes;
      if (stored.kind === "plain") return { kind: "plain", type: stored.type, start };
      const scales = room.start + scalesAt + i * scaleBytes;
      const { format, scaleType } = stored;
      const [blockRows, blockCols] = stored.block;
      const firstRow = range.start % blockRows;
      const matrix = { format, scaleType, codes: start, scales, firstRow, rows, cols, blockRows, blockCols };
      return { kind: "scaled", matrix: matrixOf(matrix) };
    });
    const shape = { name, rows, cols, range, totalRows };
    this.#pending.delete(key);
    if (this.#weights === "int7" && declared.isMultiplied) {
      this.#placed.set(key, { ...shape, slices: this.#integers(key, places, rows, cols) });
      this.#arena.release(this.#rooms.get(key)!.shift()!);
      return;
    }
    const slices = places.flatMap((place) =>
      place.kind === "plain" ? [place] : this.#survey(key, [place.matrix]),
    );
    this.#placed.set(key, { ...shape, slices });
    // A table that is looked up in and multiplied by as well has both forms.
    if (this.#weights === "int7" && key === "embedding")
      this.#placed.set("tied head", { ...shape, slices: this.#integers(key, places, rows, cols) });
  }

  /** Packs slices as integers, by way of float32. */
  #integers(key: string, places: readonly Stored[], rows: number, cols: number): Slice[] {
    const kernels = this.#kernels;
    const size = [places.length, rows, cols] as const;
    return packInt7(kernels, this.#arena, this.#keepFor(key), size, (values, slice, first, count) => {
      for (let row = 0; row < count; row++)
        widenRow(kernels, values + 4 * row * cols, places[slice]!, first + row, cols);
    }).map(({ at }) => ({ kind: "int7", at }));
  }

  /** Room that stays as long as a tensor does. */
  #keepFor(key: string): (bytes: number) => number {
    return (bytes) => {
      const room = this.#arena.keep(bytes);
      this.#rooms.get(key)!.push(room);
      return room.start;
    };
  }

  #survey(key: string, weights: readonly Matrix[]): Slice[] {
    if (this.#weights === "files")
      return weights.map((matrix) => ({ kind: "scaled", at: 0, matrix, farRows: [] }));
    const keep = this.#keepFor(key);
    return surveyEach(this.#kernels, this.#arena, weights).map((found) => {
      if (found.farRows.length > 0) return this.#asValues(found.matrix, keep);
      const [slice] = keepLists(this.#kernels, this.#arena, [found], keep);
      return { kind: "scaled", ...slice! };
    });
  }

  /** Rows that hold NaN, or leave float32, are for no product of codes: the few slices with such rows become float32. */
  #asValues(matrix: Matrix, keep: (bytes: number) => number): Slice {
    const { rows, cols } = matrix;
    const start = keep(4 * rows * cols);
    for (let row = 0; row < rows; row++)
      widenRow(this.#kernels, start + 4 * row * cols, { kind: "scaled", matrix }, row, cols);
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
