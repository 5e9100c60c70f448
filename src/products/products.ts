import { type CheckedTensor, checkDisjoint, outArray } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { FORMATS } from "../tensor/formats.ts";
import { checkChoice } from "../tensor/options.ts";
import type { BlockScaled, ValueType } from "../tensor/tensor.ts";
import type { Arena } from "../wasm/arena.ts";
import type { Kernels } from "../wasm/kernels.ts";
import { Int8Activations, type Int8Block } from "./activations.ts";
import { sliceRowsOf } from "./experts.ts";
import { AUTO_ROWS, timeActivations } from "./faster.ts";
import { type Left, type LeftOperand, leftOf } from "./left.ts";
import { multiply, type Right } from "./multiply.ts";
import { checkGemmOptions, type GemmActivations, type GemmOptions, integersNeedInt8 } from "./options.ts";
import { Packer } from "./pack.ts";
import { integerBlockOf, noInt8Products, type PlainWeights } from "./pack-integers.ts";
import { PackedWeights, type PackOptions } from "./packed.ts";
import { ResidentMatrix } from "./resident.ts";
import { checkRightOperand } from "./right.ts";

export type { LeftOperand, Matrix } from "./left.ts";
export type { GemmActivations, GemmOptions, Layout } from "./options.ts";

/** Values of x that are in memory on their way to int8, and in a cache: 128 KiB. */
const ROUNDED_ELEMENTS = 2 ** 15;

/** Matrix products on one set of kernels: checks, then the right operand in chunks or where it is packed. */
export class Products {
  readonly #kernels: Kernels;
  readonly #arena: Arena;
  readonly #dequantize: (tensor: CheckedTensor) => Float32Array;
  readonly #packer: Packer;
  readonly #packed: WeakSet<PackedWeights> = new WeakSet();
  readonly #resident: WeakSet<ResidentMatrix> = new WeakSet();
  readonly #rounded: WeakSet<Int8Activations> = new WeakSet();
  #fasterActivations: "f32" | "int8" | undefined;

  constructor(kernels: Kernels, arena: Arena, dequantize: (tensor: CheckedTensor) => Float32Array) {
    this.#kernels = kernels;
    this.#arena = arena;
    this.#dequantize = dequantize;
    this.#packer = new Packer(kernels, arena);
  }

  /** See Engine.gemm. */
  gemm(
    x: LeftOperand,
    w: BlockScaled | PackedWeights,
    options: GemmOptions,
  ): Float32Array | Uint16Array | ResidentMatrix {
    const { given, layout, type, activations } = checkGemmOptions(options);
    const right = this.#rightOf(w, layout[1] === "n");
    const left = this.#leftOf("gemm: x", x, layout[0] === "t");
    if (left.cols !== right.cols) throw unequal(left, right);
    const block = this.#blockFor(left, right, activations);
    const out = this.resultFor("gemm: out", given, type, [left.rows, right.rows]);
    if (!(out instanceof ResidentMatrix))
      for (const input of [...arraysOf(x), ...(w instanceof PackedWeights ? [] : arraysOf(w))])
        checkDisjoint("gemm: out", out, input);
    if (out === x) throw sameMatrix();
    const groups = sliceRowsOf(options.experts, left.rows, right);
    const rounded = block === undefined ? left : this.#round(left, block);
    try {
      const product = { kernels: this.#kernels, arena: this.#arena, left: rounded, right, out, type };
      for (const rows of groups) multiply(product, rows);
    } finally {
      if (rounded !== left) (rounded.values as Int8Activations).free();
    }
    return out;
  }

  /** Columns that share a scale of x, if a product is one of integers; undefined in the float path. */
  #blockFor(left: Left, right: Right, given: GemmActivations | undefined): Int8Block | undefined {
    const activations = given ?? (right.kind === "packedCodes" ? right.activations : undefined);
    const hasIntegerWeights = right.kind === "packedInt7" || right.kind === "packedFp4";
    const isIntegerX = left.values instanceof Int8Activations;
    if (activations === "f32" && (hasIntegerWeights || isIntegerX))
      throw integersNeedInt8("gemm", hasIntegerWeights ? "w" : "x");
    if (!hasIntegerWeights && !isIntegerX) {
      if (activations === undefined || activations === "f32") return undefined;
      if (activations === "auto" && !this.#prefersIntegers(left, right)) return undefined;
    }
    const block = blockOf(right);
    const xBlock = left.values instanceof Int8Activations ? left.values.block : block;
    // Integers have scales for as many columns as x; those of codes are spread.
    if (hasIntegerWeights ? xBlock !== block : block % xBlock !== 0) throw wrongBlock(xBlock, block);
    this.checkDots("gemm: activations");
    return block;
  }

  #prefersIntegers(left: Left, right: Right): boolean {
    if (left.rows < AUTO_ROWS || typeof integersOf(right) === "string") return false;
    return this.fasterActivations() === "int8";
  }

  /** What "auto" means on this engine: found by timing both, once. */
  fasterActivations(): "f32" | "int8" {
    this.#fasterActivations ??= this.#kernels.hasTrueDots() === 1 ? timeActivations(this) : "f32";
    return this.#fasterActivations;
  }

  setFasterActivations(faster: "f32" | "int8"): void {
    this.#fasterActivations = checkChoice<"f32" | "int8">("fasterActivations", faster, ["f32", "int8"]);
  }

  /** @throws BlockscaleError `wasm`: this host computes dots wrongly */
  checkDots(where: string): void {
    if (this.#kernels.hasTrueDots() === 1) return;
    throw new BlockscaleError("wasm", {
      where,
      expected: "a host whose relaxed SIMD computes integer dots",
      got: "sums that are wrong, as those of V8 11, where relaxed SIMD is behind a flag",
      fix: 'Use load({ variant: "baseline" }), or activations "f32".',
    });
  }

  /** See Engine.activations. */
  activations(x: LeftOperand, block: Int8Block): Int8Activations {
    this.checkDots("activations");
    const left = this.#leftOf("activations: x", x, false);
    if (left.values instanceof Int8Activations) throw roundedTwice();
    const { values } = this.#round(left, block);
    this.#rounded.add(values);
    values.freeAbandoned();
    return values;
  }

  /** x as int8; itself, if it is that already. A block with a value beyond float32 becomes NaN. */
  #round(left: Left, block: Int8Block): Left & { values: Int8Activations } {
    const { values, rows, cols } = left;
    if (values instanceof Int8Activations) return left as Left & { values: Int8Activations };
    const rounded = new Int8Activations(this.#arena, [rows, cols], block);
    try {
      if (values instanceof ResidentMatrix) rounded.round(this.#kernels, 0, values.address("x"), rows);
      else {
        const chunk = Math.max(1, Math.floor(ROUNDED_ELEMENTS / Math.max(1, cols)));
        this.#arena.frame([4 * Math.min(chunk, rows) * cols], (address) => {
          for (let row = 0; row < rows; row += chunk) {
            const count = Math.min(chunk, rows - row);
            const part = values.subarray(row * cols, (row + count) * cols);
            new Float32Array(this.#arena.buffer, address, part.length).set(part);
            rounded.round(this.#kernels, row, address, count);
          }
        });
      }
    } catch (error) {
      rounded.free();
      throw error;
    }
    return { values: rounded, rows, cols, float64Values: new Map() };
  }

  /** See Engine.resident. */
  resident(shape: readonly [number, number]): ResidentMatrix {
    const matrix = new ResidentMatrix(this.#arena, shape);
    this.#resident.add(matrix);
    return matrix;
  }

  /**
   * The array or matrix for a result [rows, cols], checked, or a new array.
   * @throws BlockscaleError `buffer`, `shape`; `option`: a matrix of another engine, or one that was freed
   */
  resultFor(
    where: string,
    given: unknown,
    type: ValueType,
    [rows, cols]: readonly [number, number],
  ): Float32Array | Uint16Array | ResidentMatrix {
    if (!(given instanceof ResidentMatrix))
      return outArray(where, given, type === "f32" ? "Float32Array" : "Uint16Array", rows * cols);
    this.#checkOwn(where, given);
    given.address(where);
    if (type === "f32" && given.shape[0] === rows && given.shape[1] === cols) return given;
    throw new BlockscaleError("shape", {
      where,
      expected: `a float32 matrix [${rows}, ${cols}]${type === "f32" ? "" : "; leave `type` out: resident results are float32"}`,
      got: `[${given.shape.join(", ")}]`,
      fix: `Make it with engine.resident([${rows}, ${cols}]).`,
    });
  }

  #checkOwn(where: string, matrix: ResidentMatrix | Int8Activations): void {
    if (matrix instanceof Int8Activations ? this.#rounded.has(matrix) : this.#resident.has(matrix)) return;
    throw new BlockscaleError("option", {
      where,
      expected: "a matrix in this engine's memory",
      got: "one of another engine",
      fix: "Make it with the engine that multiplies: engine.resident(...).",
    });
  }

  /** See Engine.pack. */
  pack(w: BlockScaled | PlainWeights, options: PackOptions): PackedWeights {
    const packed = this.#packer.pack(w, options);
    this.#packed.add(packed);
    return packed;
  }

  /** The left operand, checked: one in memory is this engine's. */
  #leftOf(where: string, x: LeftOperand, isTransposed: boolean): Left {
    if (x instanceof ResidentMatrix || x instanceof Int8Activations) this.#checkOwn(where, x);
    return leftOf(where, x, isTransposed, this.#dequantize);
  }

  /** The right operand, checked: packed by this engine, or a record, in which FP4 has become FP8. */
  #rightOf(w: BlockScaled | PackedWeights, isTransposed: boolean): Right {
    if (w instanceof PackedWeights) {
      const operand = w.operand("gemm: w");
      if (!this.#packed.has(w) || isTransposed) throw wrongPack(isTransposed);
      return operand;
    }
    const { format, shape, block, codes, scales, grid } = checkRightOperand("gemm: w", w, isTransposed);
    const { slices, rows, cols } = grid;
    // The block is as given, not cut to the shape as in the grid: the kernel picks its order of sums by the
    // height, so that packed and other weights give the same bits.
    return { kind: "streamed", format, shape, block, slices, rows, cols, codes, scales };
  }
}

/** The block of x that suits weights; or what about them allows only the float path. */
function integersOf(right: Right): Int8Block | "format" | "blocks" {
  if (right.kind !== "packedCodes" && right.kind !== "streamed") return right.xBlockCols;
  if (!FORMATS[right.format].hasIntegerProducts) return "format";
  return integerBlockOf(right.block[1], right.cols) ?? "blocks";
}

function blockOf(right: Right): Int8Block {
  const block = integersOf(right);
  if (typeof block === "number") return block;
  const got = block === "format" && "format" in right ? right.format : "other ones";
  throw noInt8Products("gemm: activations", block, got);
}

function wrongBlock(given: number, block: number): BlockscaleError {
  return new BlockscaleError("option", {
    where: "gemm: x",
    expected: `activations in blocks of ${block} columns, as the scales of w ask for`,
    got: `blocks of ${given}`,
    fix: `Make them with engine.activations(x, { block: ${block} }).`,
  });
}

function roundedTwice(): BlockscaleError {
  return new BlockscaleError("option", {
    where: "activations: x",
    expected: "values or codes",
    got: "what was rounded to int8 already",
    fix: "Use it as it is.",
  });
}

function sameMatrix(): BlockscaleError {
  return new BlockscaleError("option", {
    where: "gemm: out",
    expected: "another matrix than x",
    got: "x itself",
    fix: "Make a second one with engine.resident([M, N]): a product reads all of x while it writes.",
  });
}

function arraysOf(operand: LeftOperand): ArrayBufferView[] {
  if (operand instanceof ResidentMatrix || operand instanceof Int8Activations) return [];
  return "codes" in operand ? [operand.codes, operand.scales] : [operand.values];
}

function unequal(left: Left, right: Right): BlockscaleError {
  return new BlockscaleError("shape", {
    where: "gemm: K",
    expected: "as many columns in x as in w",
    got: `${left.cols} and ${right.cols}`,
    fix: 'Multiply x [M, K] by w [N, K]; other layouts are named with { layout: "nn" }.',
  });
}

function wrongPack(isTransposed: boolean): BlockscaleError {
  return new BlockscaleError("option", {
    where: "gemm: w",
    expected: "weights that this engine has packed, in layout nt or tt",
    got: isTransposed ? "a layout that transposes them" : "weights of another engine",
    fix: isTransposed ? 'Transpose them once: pack(w, { layout: "n" }).' : "Pack them with this engine.",
  });
}
