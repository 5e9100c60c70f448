import { type CheckedTensor, kindOf } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { FORMATS } from "../tensor/formats.ts";
import type { BlockScaled, Format } from "../tensor/tensor.ts";
import type { Allocation, Arena } from "../wasm/arena.ts";
import type { Kernels } from "../wasm/kernels.ts";
import { type MatrixRecord, matrixRecord } from "../wasm/matrix.ts";
import type { Int8Block } from "./activations.ts";
import type { PackedIntegers } from "./multiply.ts";
import { checkPackOptions, type GemmActivations } from "./options.ts";
import { packFp4 } from "./pack-fp4.ts";
import {
  type Allocate,
  floatWeights,
  integerBlockOf,
  noInt8Products,
  type PlainWeights,
  packCodesAsInt7,
  packValuesAsInt7,
} from "./pack-integers.ts";
import { PackedWeights, type PackOptions } from "./packed.ts";
import { analyseEach, checkRightOperand, keepLists, MARGIN, putScales, typesOf } from "./right.ts";

/** Copies weights into memory, where they stay: as codes, or as integers. */
export class Packer {
  readonly #kernels: Kernels;
  readonly #arena: Arena;

  constructor(kernels: Kernels, arena: Arena) {
    this.#kernels = kernels;
    this.#arena = arena;
  }

  /** See Engine.pack. */
  pack(w: BlockScaled | PlainWeights, options: PackOptions): PackedWeights {
    const { layout, weights, activations } = checkPackOptions(options);
    if (!areWeights(w)) throw noWeights(w);
    const isTransposed = layout === "n";
    if (weights === "int7") return this.#packAsInt7(w, isTransposed);
    if (!("codes" in w)) throw valuesNeedInt7();
    const tensor = checkRightOperand("pack", w, isTransposed);
    if (activations !== "int8") return this.#keepCodes(tensor, activations);
    const { format, shape, grid } = tensor;
    if (!FORMATS[format].hasIntegerProducts) throw noInt8Products("pack: activations", "format", format);
    const xBlockCols = integerBlockOf(tensor.block[1], grid.cols);
    if (xBlockCols === undefined)
      throw noInt8Products("pack: activations", "blocks", `${tensor.block[1]} columns`);
    if (w.format !== "e2m1") return this.#keepCodes(tensor, activations);
    return this.#packIntegers("packedFp4", xBlockCols, w.format, tensor.block, [shape, grid], (allocate) =>
      packFp4(this.#arena, allocate, tensor, xBlockCols),
    );
  }

  #packAsInt7(w: BlockScaled | PlainWeights, isTransposed: boolean): PackedWeights {
    if (!("codes" in w)) {
      const floats = floatWeights(w, isTransposed);
      return this.#packIntegers("packedInt7", 32, undefined, [1, 32], [floats.shape, floats], (allocate) =>
        packValuesAsInt7(this.#kernels, this.#arena, allocate, floats),
      );
    }
    const tensor = checkRightOperand("pack", w, isTransposed);
    return this.#packIntegers("packedInt7", 32, w.format, [1, 32], [tensor.shape, tensor.grid], (allocate) =>
      packCodesAsInt7(this.#kernels, this.#arena, allocate, tensor),
    );
  }

  #packIntegers(
    kind: PackedIntegers["kind"],
    xBlockCols: Int8Block,
    format: Format | undefined,
    [blockRows, blockCols]: readonly [number, number],
    [shape, { slices, rows, cols }]: readonly [
      readonly number[],
      { readonly slices: number; readonly rows: number; readonly cols: number },
    ],
    make: (allocate: Allocate) => PackedIntegers["weights"],
  ): PackedWeights {
    return this.#allocateFor((allocate, bytes, release) => {
      const weights = make(allocate);
      return new PackedWeights(
        { format, shape: [...shape], block: [blockRows, blockCols], bytes: bytes() },
        { kind, shape, slices, rows, cols, weights, xBlockCols },
        release,
      );
    });
  }

  /**
   * Calls `make` with three functions: one that reserves memory that stays, one that says how many bytes that
   * is so far, and one that releases all of it. Releases it too if `make` throws.
   */
  #allocateFor(
    make: (allocate: Allocate, bytes: () => number, release: () => void) => PackedWeights,
  ): PackedWeights {
    const allocations: Allocation[] = [];
    let bytes = 0;
    const allocate = (size: number): number => {
      const allocation = this.#arena.allocate(size);
      allocations.push(allocation);
      bytes += size;
      return allocation.start;
    };
    const release = (): void => {
      for (const allocation of allocations) this.#arena.release(allocation);
    };
    try {
      return make(allocate, () => bytes, release);
    } catch (error) {
      release();
      throw error;
    }
  }

  #keepCodes(
    { format, shape, block, codes, scales, grid }: CheckedTensor,
    activations: GemmActivations | undefined,
  ): PackedWeights {
    const { slices, rows, cols } = grid;
    return this.#allocateFor((allocate, bytes, release) => {
      const scalesFrom = alignTo4(codes.length + MARGIN);
      const codesAt = allocate(scalesFrom + scales.byteLength);
      new Uint8Array(this.#arena.buffer, codesAt, codes.length).set(codes);
      putScales(this.#arena.buffer, codesAt + scalesFrom, scales);
      const weights = Array.from(
        { length: slices },
        (_, slice): MatrixRecord =>
          matrixRecord({
            ...typesOf(format, scales),
            codes: codesAt + slice * rows * cols,
            scales: codesAt + scalesFrom + slice * (scales.byteLength / slices),
            ...{ rows, cols, blockRows: block[0], blockCols: block[1] },
          }),
      );
      const found = analyseEach(this.#kernels, this.#arena, weights);
      const analysed = keepLists(this.#kernels, this.#arena, found, allocate);
      return new PackedWeights(
        { format, shape: [...shape], block: [block[0], block[1]], bytes: bytes() },
        { kind: "packedCodes", format, block, shape, slices, rows, cols, weights: analysed, activations },
        release,
      );
    });
  }
}

function areWeights(w: unknown): boolean {
  return typeof w === "object" && w !== null && ("codes" in w || ("values" in w && "shape" in w));
}

function noWeights(w: unknown): BlockscaleError {
  return new BlockscaleError("option", {
    where: "pack: w",
    expected: "a block-scaled record, or { values, shape }",
    got: kindOf(w),
    fix: "Pass what quantize() returned.",
  });
}

function valuesNeedInt7(): BlockscaleError {
  return new BlockscaleError("option", {
    where: "pack: w",
    expected: "a block-scaled record",
    got: "{ values, shape }, which is for integers",
    fix: 'Pass { weights: "int7" }, or quantise the values first.',
  });
}

function alignTo4(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}
