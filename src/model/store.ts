import { Int7Packer } from "../products/pack-integers.ts";
import { analyseEach, keepLists, MARGIN } from "../products/right.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { VALUE_TYPE_ID } from "../tensor/formats.ts";
import type { Allocation, Arena } from "../wasm/arena.ts";
import type { MatrixRecord } from "../wasm/matrix.ts";
import type { ModelKernels } from "./kernels.ts";
import {
  type DeclaredRows,
  type FileSlice,
  fileSliceAt,
  type LoadedRows,
  type LoadedTensor,
  readRowsAsFloat32,
  type Slice,
  scaleRowOf,
  widthOf,
} from "./loaded-tensor.ts";

/**
 * How weights lie in memory: codes as they are stored, or integers of 7 bits in blocks of 32 made from them.
 */
export type WeightForm = "codes" | "int7";

/** A tensor that is being loaded. */
interface PendingTensor {
  readonly declared: DeclaredRows;
  fill(loaded: LoadedRows): void;
  /** Finishes the tensor. Call it when all bytes have been filled in. */
  slices(): Slice[];
}

/** The weights of a model, or one member's share of them, in the memory of the kernels. */
export class Store {
  readonly #kernels: ModelKernels;
  readonly #arena: Arena;
  readonly #weights: WeightForm | "files";
  readonly #pending = new Map<string, PendingTensor>();
  readonly #loaded = new Map<string, LoadedTensor>();
  readonly #allocations = new Map<string, Allocation[]>();

  /**
   * @param weights "codes": made ready for products; "int7": rounded to integers of 7 bits; "files": as they
   * are in the files
   */
  constructor(kernels: ModelKernels, arena: Arena, weights: WeightForm | "files" = "codes") {
    this.#kernels = kernels;
    this.#arena = arena;
    this.#weights = weights;
  }

  /** Grows memory for about so many bytes of tensors; nothing is reserved. */
  growFor(bytes: number): void {
    this.#arena.growFor(bytes);
  }

  /**
   * Allocates memory for a tensor.
   * @throws BlockscaleError `memory`
   */
  declare(declared: DeclaredRows): void {
    const { key, isMultiplied } = declared;
    this.#allocations.set(key, []);
    const areIntegers = this.#weights === "int7" && isMultiplied;
    this.#pending.set(key, areIntegers ? this.#integers(declared) : this.#asStored(declared));
  }

  fill(loaded: LoadedRows): void {
    this.#pendingOf(loaded.key).fill(loaded);
  }

  /** Finishes a tensor whose bytes have all been filled in: from now on it can be used. */
  seal(key: string): void {
    const pending = this.#pendingOf(key);
    const { name, range, cols, totalRows, inFile } = pending.declared;
    const rows = range.end - range.start;
    const isSubByte = inFile.kind === "scaled" && inFile.isSubByte === true;
    this.#loaded.set(key, { name, rows, cols, range, totalRows, isSubByte, slices: pending.slices() });
    this.#pending.delete(key);
  }

  /** Allocates memory that is freed together with a tensor. */
  #allocatorFor(key: string): (bytes: number) => number {
    return (bytes) => {
      const allocation = this.#arena.allocate(bytes);
      this.#allocations.get(key)!.push(allocation);
      return allocation.start;
    };
  }

  /** A tensor kept as in the file: the codes or values of all slices, then their scales. */
  #asStored(declared: DeclaredRows): PendingTensor {
    const { key, range, cols, slices, inFile } = declared;
    const rows = range.end - range.start;
    const width = widthOf(inFile);
    const valueBytes = rows * cols * width;
    const scaleRow = scaleRowOf(inFile, cols);
    const blockRows = inFile.kind === "scaled" ? inFile.block[0] : 1;
    const firstBlock = Math.floor(range.start / blockRows);
    const scaleBytes = rows === 0 ? 0 : (Math.ceil(range.end / blockRows) - firstBlock) * scaleRow;
    const scalesFrom = Math.ceil((slices * valueBytes + MARGIN) / 4) * 4;
    const start = this.#allocatorFor(key)(scalesFrom + slices * scaleBytes);
    const valuesOf = (slice: number) => start + slice * valueBytes;
    const scalesOf = (slice: number) => start + scalesFrom + slice * scaleBytes;
    return {
      declared,
      fill: ({ slice, first, values, scales }) => {
        this.#write(valuesOf(slice) + (first - range.start) * cols * width, values);
        const block = Math.floor(first / blockRows) - firstBlock;
        if (scales !== null) this.#write(scalesOf(slice) + block * scaleRow, scales);
      },
      slices: () =>
        Array.from({ length: slices }, (_, slice) =>
          this.#prepare(
            key,
            fileSliceAt(declared, {
              start: valuesOf(slice),
              scales: scalesOf(slice),
              first: range.start,
              rows,
            }),
          ),
        ),
    };
  }

  /** A tensor that is rounded to integers as its rows arrive. */
  #integers(declared: DeclaredRows): PendingTensor {
    const { key, range, cols, slices, inFile } = declared;
    const kernels = this.#kernels;
    const arena = this.#arena;
    const size = [slices, range.end - range.start, cols] as const;
    const packer = new Int7Packer(kernels, arena, this.#allocatorFor(key), size);
    return {
      declared,
      fill: ({ slice, first, values, scales }) => {
        const rows = values.length / (cols * widthOf(inFile));
        arena.frame([values.length, scales?.length ?? 0], (valuesAt, scalesAt) => {
          this.#write(valuesAt, values);
          if (scales !== null) this.#write(scalesAt, scales);
          const source = fileSliceAt(declared, { start: valuesAt, scales: scalesAt, first, rows });
          const top = first - range.start;
          packer.pack(slice, top, rows, (dst, row, count) => {
            readRowsAsFloat32(kernels, arena, dst, source, row - top, count, cols);
          });
        });
      },
      slices: () =>
        Array.from({ length: slices }, (_, slice) => ({ kind: "int7", ...packer.writeMatrix(slice) })),
    };
  }

  #write(address: number, bytes: Uint8Array): void {
    new Uint8Array(this.#arena.buffer, address, bytes.length).set(bytes);
  }

  /** Prepares a slice for products: see `analyseEach`. */
  #prepare(key: string, stored: FileSlice): Slice {
    if (stored.kind === "plain") return stored;
    const { matrix } = stored;
    if (this.#weights === "files") return { kind: "scaled", matrixAt: 0, matrix, float64Rows: [] };
    const [analysis] = analyseEach(this.#kernels, this.#arena, [matrix]);
    if (analysis!.float64Rows.length > 0) return this.#asValues(key, matrix);
    const [slice] = keepLists(this.#kernels, this.#arena, [analysis!], this.#allocatorFor(key));
    return { kind: "scaled", ...slice! };
  }

  /**
   * Dequantises a slice. Product kernels of codes cannot do rows with NaN or with values outside float32; the
   * few slices with such rows become float32.
   */
  #asValues(key: string, matrix: MatrixRecord): Slice {
    const { rows, cols } = matrix;
    const start = this.#allocatorFor(key)(4 * rows * cols);
    const stored = { kind: "scaled", matrix } as const;
    readRowsAsFloat32(this.#kernels, this.#arena, start, stored, 0, rows, cols);
    return { kind: "plain", type: VALUE_TYPE_ID.f32, start };
  }

  #pendingOf(key: string): PendingTensor {
    const found = this.#pending.get(key);
    if (found === undefined) throw new Error(`no tensor ${key} is being loaded`);
    return found;
  }

  has(key: string): boolean {
    return this.#loaded.has(key);
  }

  /**
   * A tensor by its key.
   * @throws BlockscaleError `internal`: none has been loaded
   */
  get(key: string): LoadedTensor {
    const loaded = this.#loaded.get(key);
    if (loaded !== undefined) return loaded;
    throw new BlockscaleError("internal", {
      where: "model",
      expected: `the tensor ${key}`,
      got: "none",
      fix: "Please report this.",
    });
  }

  /** Address of the float32 values of a vector; 0 if there is none by this key. */
  vector(key: string): number {
    const slice = this.#loaded.get(key)?.slices[0];
    return slice?.kind === "plain" ? slice.start : 0;
  }

  /** Frees all tensors whose keys begin with a prefix. */
  drop(prefix: string): void {
    for (const [key, allocations] of this.#allocations) {
      if (!key.startsWith(prefix)) continue;
      for (const allocation of allocations) this.#arena.release(allocation);
      this.#allocations.delete(key);
      this.#loaded.delete(key);
      this.#pending.delete(key);
    }
  }
}
