import {
  type CheckedTensor,
  checkArray,
  checkDisjoint,
  checkOptions,
  outArray,
  outOf,
} from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { FORMAT_ID } from "../tensor/formats.ts";
import { asFp8, isFp4 } from "../tensor/fp4.ts";
import type { BlockScaled, Format, ValueType } from "../tensor/tensor.ts";
import { checkUpright } from "../tensor/transpose.ts";
import type { Arena, Resident } from "../wasm/arena.ts";
import type { Kernels } from "../wasm/kernels.ts";
import { Int8Activations } from "./activations.ts";
import { fasterOf } from "./faster.ts";
import { type Left, type LeftOperand, leftOf, notAMatrix } from "./left.ts";
import { type Integers, multiply, type Right, type Run } from "./multiply.ts";
import {
  FORM_ID,
  floatWeights,
  integerBlockOf,
  type Keep,
  noIntegers,
  type PlainWeights,
  packCodes,
  packNibbles,
  packValues,
} from "./pack-integers.ts";
import { PackedWeights, type PackOptions } from "./packed.ts";
import { ResidentMatrix } from "./resident.ts";
import { keepLists, MARGIN, surveyEach, typesOf, type Weights } from "./right.ts";

export type { LeftOperand, Matrix } from "./left.ts";

/** How the operands lie in memory: `n` as in x [M, K] and w [K, N], `t` transposed; x first, then w. */
export type Layout = "nt" | "nn" | "tn" | "tt";

export interface GemmOptions {
  /** M * N elements for the result: a Float32Array, a resident [M, N] matrix, or a Uint16Array with type "bf16". */
  readonly out?: Float32Array | Uint16Array | ResidentMatrix;
  /** Type of the result; "f32" if left out. */
  readonly type?: "f32" | "bf16";
  /** "nt" if left out. Packed weights are always `[N, K]`. */
  readonly layout?: Layout;
  /** For each row of x the slice of w `[E, N, K]` that it meets, or -1: rows of the result that stay as they are. */
  readonly experts?: Int32Array;
  /**
   * What x becomes first. "f32": nothing, and products are those of the float path. "int8": integers in blocks of 32 columns, with sums that are exact within
   * a block: see docs/exactness.md. "auto": the faster one of both, for x of sixteen rows and more. Left out, "f32", but for operands that are integers already.
   */
  readonly activations?: Activations;
}

export type Activations = "f32" | "int8" | "auto";

/** Rows of x from which weights in two planes may pay: below, it costs more to make them than to multiply by them. */
const AUTO_ROWS = 16;

/** Values of x that are in memory on their way to int8. */
const ROUNDED_ELEMENTS = 2 ** 18;

/** Matrix products on one set of kernels: checks, then the right operand in chunks or where it is packed. */
export class Products {
  readonly #kernels: Kernels;
  readonly #arena: Arena;
  readonly #dequantize: (tensor: BlockScaled) => Float32Array;
  readonly #packed: WeakSet<PackedWeights> = new WeakSet();
  readonly #resident: WeakSet<ResidentMatrix> = new WeakSet();
  readonly #rounded: WeakSet<Int8Activations> = new WeakSet();
  #faster: "f32" | "int8" | undefined;

  constructor(kernels: Kernels, arena: Arena, dequantize: (tensor: BlockScaled) => Float32Array) {
    this.#kernels = kernels;
    this.#arena = arena;
    this.#dequantize = dequantize;
  }

  /** See Engine.gemm. */
  gemm(
    x: LeftOperand,
    w: BlockScaled | PackedWeights,
    options: GemmOptions,
  ): Float32Array | Uint16Array | ResidentMatrix {
    const { given, layout, type, activations } = checkGemmOptions(options);
    if (isFp4(x)) return this.gemm(asFp8("gemm: x", x), w, options);
    if (isFp4(w)) return this.gemm(x, asFp8("gemm: w", w), options);
    const right = this.#rightOf(w, layout[1] === "n");
    if (x instanceof ResidentMatrix || x instanceof Int8Activations) this.#checkOwn("gemm: x", x);
    const left = leftOf(x, layout[0] === "t", this.#dequantize);
    if (left.cols !== right.cols) throw unequal(left, right);
    const block = this.#blockFor(left, right, activations);
    const out = this.outOf("gemm: out", given, type, [left.rows, right.rows]);
    for (const input of [...arraysOf(x), ...(w instanceof PackedWeights ? [] : arraysOf(w))]) {
      if (out instanceof ResidentMatrix) continue;
      checkDisjoint("gemm: out", out, input);
    }
    if (out === x) throw sameMatrix();
    const runs = runsOf(options.experts, left.rows, right);
    const rounded = block === undefined ? left : this.#round(left, block);
    try {
      const product = { kernels: this.#kernels, arena: this.#arena, left: rounded, right, out, type };
      for (const run of runs) multiply(product, run);
    } finally {
      if (rounded !== left) (rounded.values as Int8Activations).free();
    }
    return out;
  }

  /** Columns that share a scale of x, if a product is one of integers; undefined in the float path. */
  #blockFor(left: Left, right: Right, given: Activations | undefined): 16 | 32 | undefined {
    const activations = given ?? (right.kind === "packed" ? right.activations : undefined);
    const isPacked = right.kind in FORM_ID;
    const isRounded = left.values instanceof Int8Activations;
    if (activations === "f32" && (isPacked || isRounded)) throw onlyIntegers(isPacked ? "w" : "x");
    if (!isPacked && !isRounded) {
      if (activations === undefined || activations === "f32") return undefined;
      if (activations === "auto" && !this.#prefersIntegers(left, right)) return undefined;
    }
    const block = blockOf(right);
    const held = left.values instanceof Int8Activations ? left.values.block : block;
    if (held !== block) throw otherBlock(held, block);
    this.checkDots("gemm: activations");
    return block;
  }

  #prefersIntegers(left: Left, right: Right): boolean {
    if (left.rows < AUTO_ROWS || typeof integersOf(right) === "string") return false;
    return this.#kernels.hasTrueDots() === 1 && this.faster() === "int8";
  }

  /** What "auto" means on this engine: found by timing both for a millisecond or two, once. */
  faster(): "f32" | "int8" {
    this.#faster ??= fasterOf(this);
    return this.#faster;
  }

  setFaster(faster: "f32" | "int8"): void {
    this.#faster = checkChoice<"f32" | "int8">("fasterActivations", faster, ["f32", "int8"]);
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
  activations(x: LeftOperand, block: 16 | 32): Int8Activations {
    this.checkDots("activations");
    if (isFp4(x)) return this.activations(asFp8("activations: x", x), block);
    if (x instanceof ResidentMatrix) this.#checkOwn("activations: x", x);
    const left = leftOf(x, false, this.#dequantize);
    if (left.values instanceof Int8Activations) throw roundedTwice();
    const { values } = this.#round(left, block);
    this.#rounded.add(values);
    values.freeAbandoned();
    return values;
  }

  /** x as int8; itself, if it is that already. Far rows become NaN where float32 does not hold them. */
  #round(left: Left, block: 16 | 32): Left & { values: Int8Activations } {
    const { values, rows, cols } = left;
    if (values instanceof Int8Activations) return left as Left & { values: Int8Activations };
    const rounded = new Int8Activations(this.#arena, [rows, cols], block);
    try {
      if (values instanceof ResidentMatrix) rounded.round(this.#kernels, 0, values.placeFor("x"), rows);
      else {
        const chunk = Math.max(1, Math.floor(ROUNDED_ELEMENTS / Math.max(1, cols)));
        for (let row = 0; row < rows; row += chunk) {
          const count = Math.min(chunk, rows - row);
          const [place] = this.#arena.frame([4 * count * cols]) as [number];
          const part = values.subarray(row * cols, (row + count) * cols);
          new Float32Array(this.#arena.buffer, place, part.length).set(part);
          rounded.round(this.#kernels, row, place, count);
        }
      }
    } catch (error) {
      rounded.free();
      throw error;
    }
    return { values: rounded, rows, cols, farRows: new Map() };
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
  outOf(
    where: string,
    given: unknown,
    type: ValueType,
    [rows, cols]: readonly [number, number],
  ): Float32Array | Uint16Array | ResidentMatrix {
    if (!(given instanceof ResidentMatrix))
      return outArray(where, given, type === "f32" ? "Float32Array" : "Uint16Array", rows * cols);
    this.#checkOwn(where, given);
    given.placeFor(where);
    if (type === "f32" && given.shape[0] === rows && given.shape[1] === cols) return given;
    throw new BlockscaleError("shape", {
      where,
      expected: `a float32 matrix [${rows}, ${cols}]${type === "f32" ? "" : ", and no type: resident results are float32"}`,
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
    const { layout, weights, activations } = checkPackOptions(options);
    const isTurned = layout === "n";
    if (weights === "int7") return this.#packInt7(w, isTurned);
    if (!("codes" in w)) throw onlyAsIntegers();
    const [tensor, checked] = checkUpright("pack", asFp8("pack", w), isTurned);
    const block = integerBlockOf(tensor.block[1], checked.grid.cols);
    if (activations !== "int8") return this.#packCodes(tensor, checked, activations);
    if (tensor.format === "e5m2") throw noIntegers("pack: activations", "E5M2", tensor.format);
    if (block === undefined) throw noIntegers("pack: activations", "blocks", `${tensor.block[1]} columns`);
    if (w.format !== "e2m1") return this.#packCodes(tensor, checked, activations);
    return this.#packIntegers("fp4", block, w.format, tensor.block, [tensor.shape, checked.grid], (keep) =>
      packNibbles(this.#arena, keep, tensor, checked, block),
    );
  }

  #packInt7(w: BlockScaled | PlainWeights, isTurned: boolean): PackedWeights {
    if (!("codes" in w)) {
      const floats = floatWeights(w, isTurned);
      return this.#packIntegers("int7", 32, undefined, [1, 32], [floats.shape, floats], (keep) =>
        packValues(this.#kernels, this.#arena, keep, floats),
      );
    }
    const [tensor, checked] = checkUpright("pack", asFp8("pack", w), isTurned);
    return this.#packIntegers("int7", 32, w.format, [1, 32], [tensor.shape, checked.grid], (keep) =>
      packCodes(this.#kernels, this.#arena, keep, tensor, checked),
    );
  }

  #packIntegers(
    kind: Integers["kind"],
    inner: 16 | 32,
    format: Format | undefined,
    [blockRows, blockCols]: readonly [number, number],
    [shape, { slices, rows, cols }]: readonly [
      readonly number[],
      { readonly slices: number; readonly rows: number; readonly cols: number },
    ],
    make: (keep: Keep) => Integers["weights"],
  ): PackedWeights {
    return this.#keepAll((keep, bytes, release) => {
      const weights = make(keep);
      const packed = new PackedWeights(
        { format, shape: [...shape], block: [blockRows, blockCols], bytes: bytes() },
        { kind, shape, slices, rows, cols, weights, block: inner },
        release,
      );
      this.#packed.add(packed);
      return packed;
    });
  }

  /** Calls `make` with a way to room that stays, how much of that there is, and what gives all of it back, also if it throws. */
  #keepAll(make: (keep: Keep, bytes: () => number, release: () => void) => PackedWeights): PackedWeights {
    const residents: Resident[] = [];
    let bytes = 0;
    const keep = (size: number): number => {
      const resident = this.#arena.keep(size);
      residents.push(resident);
      bytes += size;
      return resident.start;
    };
    const release = (): void => {
      for (const resident of residents) this.#arena.release(resident);
    };
    try {
      return make(keep, () => bytes, release);
    } catch (error) {
      release();
      throw error;
    }
  }

  #packCodes(
    tensor: BlockScaled,
    { format, codes, scales, grid }: CheckedTensor,
    activations: Activations | undefined,
  ): PackedWeights {
    const { slices, rows, cols } = grid;
    return this.#keepAll((keep, bytes, release) => {
      const scaleBytes = new Uint8Array(scales.buffer, scales.byteOffset, scales.byteLength);
      const scalesFrom = alignTo4(codes.length + MARGIN);
      const codesAt = keep(scalesFrom + scaleBytes.length);
      new Uint8Array(this.#arena.buffer, codesAt, codes.length).set(codes);
      new Uint8Array(this.#arena.buffer, codesAt + scalesFrom, scaleBytes.length).set(scaleBytes);
      const weights = Array.from(
        { length: slices },
        (_, slice): Weights => ({
          types: typesOf(format, scales),
          place: [
            codesAt + slice * rows * cols,
            codesAt + scalesFrom + slice * (scaleBytes.length / slices),
            0,
            rows,
            cols,
            ...tensor.block,
          ],
        }),
      );
      const found = surveyEach(this.#kernels, this.#arena, weights);
      const surveyed = keepLists(this.#kernels, this.#arena, found, keep);
      const { shape, block } = tensor;
      const packed = new PackedWeights(
        { format, shape: [...shape], block: [block[0], block[1]], bytes: bytes() },
        { kind: "packed", shape, slices, rows, cols, weights: surveyed, activations },
        release,
      );
      this.#packed.add(packed);
      return packed;
    });
  }

  #rightOf(w: BlockScaled | PackedWeights, isTransposed: boolean): Right {
    if (w instanceof PackedWeights) {
      const place = w.placeFor("gemm: w");
      if (!this.#packed.has(w) || isTransposed) throw wrongPack(isTransposed);
      return place;
    }
    const [tensor, { format, codes, scales, grid }] = checkUpright("gemm: w", w, isTransposed);
    const { slices, rows, cols } = grid;
    // Keep the block as given, not cut to the shape: the kernel picks its order of sums by the height, so that packed and other
    // weights give the same bits.
    const { shape, block } = tensor;
    const types = typesOf(format, scales);
    return { kind: "streamed", types, shape, block, slices, rows, cols, codes, scales };
  }
}

/** The options of a product, each of them one that there is. */
export function checkGemmOptions(options: GemmOptions): {
  given: GemmOptions["out"];
  layout: Layout;
  type: "f32" | "bf16";
  activations: Activations | undefined;
} {
  return {
    given: outOf("gemm", options),
    layout: checkChoice("gemm: layout", options.layout ?? "nt", ["nt", "nn", "tn", "tt"]),
    type: checkChoice("gemm: type", options.type ?? "f32", ["f32", "bf16"]),
    activations: checkActivations("gemm", options.activations),
  };
}

function checkActivations(where: string, given: Activations | undefined): Activations | undefined {
  if (given === undefined) return undefined;
  return checkChoice<Activations>(`${where}: activations`, given, ["f32", "int8", "auto"]);
}

/** The options of weights, each of them one that there is. */
export function checkPackOptions(options: PackOptions): {
  layout: "t" | "n";
  weights: "codes" | "int7";
  activations: Activations | undefined;
} {
  const given = checkOptions("pack", options);
  const weights = checkChoice("pack: weights", given.weights ?? "codes", ["codes", "int7"]);
  const activations = checkActivations("pack", given.activations);
  if (weights === "int7" && activations === "f32") throw onlyIntegers("w");
  return { layout: checkChoice("pack: layout", given.layout ?? "t", ["t", "n"]), weights, activations };
}

/** The block of x that suits weights; why they are for the float path alone, otherwise. */
function integersOf(right: Right): 16 | 32 | "E5M2" | "blocks" {
  if ("weights" in right && right.kind !== "packed") return right.block;
  const slice = right.kind === "packed" ? right.weights[0] : undefined;
  const types = right.kind === "packed" ? slice?.types : right.types;
  const blockCols = right.kind === "packed" ? (slice?.place[6] ?? right.cols) : right.block[1];
  if (types?.[0] === FORMAT_ID.e5m2) return "E5M2";
  return integerBlockOf(blockCols, right.cols) ?? "blocks";
}

function blockOf(right: Right): 16 | 32 {
  const block = integersOf(right);
  if (typeof block === "number") return block;
  throw noIntegers("gemm: activations", block, block === "E5M2" ? "e5m2" : "other ones");
}

function onlyIntegers(operand: "x" | "w"): BlockscaleError {
  return new BlockscaleError("option", {
    where: `activations with ${operand}`,
    expected: `"int8", since ${operand} is made of integers`,
    got: '"f32"',
    fix: "Leave the option out, or pass the values or codes that the integers were made of.",
  });
}

function onlyAsIntegers(): BlockscaleError {
  return new BlockscaleError("option", {
    where: "pack: w",
    expected: "a block-scaled record",
    got: "{ values, shape }, which is for integers",
    fix: 'Pass { weights: "int7" }, or quantise the values first.',
  });
}

function otherBlock(given: number, block: number): BlockscaleError {
  return new BlockscaleError("option", {
    where: "gemm: x",
    expected: `activations in blocks of ${block}, since those of w are no multiple of 32 columns wide`,
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

function runsOf(experts: Int32Array | undefined, rows: number, { slices, shape }: Right): Run[] {
  if (experts === undefined) {
    if (slices !== 1) throw notAMatrix("gemm: w", shape);
    return [{ start: 0, end: rows, slice: 0 }];
  }
  const numbers = checkArray("gemm: experts", experts, "Int32Array", rows);
  const runs: Run[] = [];
  for (let start = 0, end = 0; start < rows; start = end) {
    const slice = numbers[start]!;
    if (slice < -1 || slice >= slices) throw noExpert(slice, start, slices);
    while (end < rows && numbers[end] === slice) end++;
    if (slice >= 0) runs.push({ start, end, slice });
  }
  return runs;
}

function alignTo4(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}

function checkChoice<T extends string>(where: string, given: T, choices: readonly T[]): T {
  if (choices.includes(given)) return given;
  throw new BlockscaleError("option", {
    where,
    expected: choices.map((choice) => `"${choice}"`).join(" or "),
    got: JSON.stringify(given) ?? String(given),
    fix: "Pass one of these.",
  });
}

function noExpert(slice: number, row: number, slices: number): BlockscaleError {
  return new BlockscaleError("option", {
    where: `gemm: experts[${row}]`,
    expected: slices === 0 ? "-1, since w has no slices" : `-1, or a slice of w from 0 to ${slices - 1}`,
    got: String(slice),
    fix: "Stack the experts as w [E, N, K] and number them from 0.",
  });
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
