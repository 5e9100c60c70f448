import { checkArray, checkDisjoint, checkOptions, outArray, outOf } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { FORMAT_ID, SCALE_TYPE_ID } from "../tensor/formats.ts";
import { asFp8, isFp4 } from "../tensor/fp4.ts";
import type { BlockScaled, Format } from "../tensor/tensor.ts";
import { checkUpright } from "../tensor/transpose.ts";
import type { Arena, Resident } from "../wasm/arena.ts";
import type { Kernels } from "../wasm/kernels.ts";
import { type Left, type LeftOperand, leftOf, notAMatrix } from "./left.ts";
import { multiply, type Right, type Run } from "./multiply.ts";
import { PackedWeights, type PackOptions } from "./packed.ts";
import { ResidentMatrix } from "./resident.ts";
import { keepLists, MARGIN, surveyEach, type Weights } from "./right.ts";

export type { LeftOperand, Matrix } from "./left.ts";

/** How the operands lie in memory: `n` as in x [M, K] and w [K, N], `t` transposed; x first, then w. */
export type Layout = "nt" | "nn" | "tn" | "tt";

export interface GemmOptions {
  /** M * N elements for the result: a Float32Array, a resident [M, N] matrix, or a Uint16Array with type "bf16". */
  readonly out?: Float32Array | Uint16Array | ResidentMatrix;
  /** Of the result; "f32" if left out. */
  readonly type?: "f32" | "bf16";
  /** "nt" if left out. Packed weights are always `[N, K]`. */
  readonly layout?: Layout;
  /** For each row of x the slice of w `[E, N, K]` that it meets, or -1: rows of the result that stay as they are. */
  readonly experts?: Int32Array;
}

/** Matrix products on one set of kernels: checks, then the right operand in chunks or where it is packed. */
export class Products {
  readonly #kernels: Kernels;
  readonly #arena: Arena;
  readonly #dequantize: (tensor: BlockScaled) => Float32Array;
  readonly #packed: WeakSet<PackedWeights> = new WeakSet();
  readonly #resident: WeakSet<ResidentMatrix> = new WeakSet();

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
    const { given, layout, type } = checkGemmOptions(options);
    if (isFp4(x)) return this.gemm(asFp8("gemm: x", x), w, options);
    if (isFp4(w)) return this.gemm(x, asFp8("gemm: w", w), options);
    const right = this.#rightOf(w, layout[1] === "n");
    if (x instanceof ResidentMatrix) this.#checkOwn("gemm: x", x);
    const left = leftOf(x, layout[0] === "t", this.#dequantize);
    if (left.cols !== right.cols) throw unequal(left, right);
    const out = this.#outOf(given, type, [left.rows, right.rows]);
    for (const input of [...arraysOf(x), ...(w instanceof PackedWeights ? [] : arraysOf(w))]) {
      if (out instanceof ResidentMatrix) continue;
      checkDisjoint("gemm: out", out, input);
    }
    if (out === x) throw sameMatrix();
    const product = { kernels: this.#kernels, arena: this.#arena, left, right, out, type };
    for (const run of runsOf(options.experts, left.rows, right)) multiply(product, run);
    return out;
  }

  /** See Engine.resident. */
  resident(shape: readonly [number, number]): ResidentMatrix {
    const matrix = new ResidentMatrix(this.#arena, shape);
    this.#resident.add(matrix);
    return matrix;
  }

  #outOf(
    given: GemmOptions["out"],
    type: "f32" | "bf16",
    [rows, cols]: readonly [number, number],
  ): Float32Array | Uint16Array | ResidentMatrix {
    if (!(given instanceof ResidentMatrix)) {
      return outArray("gemm: out", given, type === "f32" ? "Float32Array" : "Uint16Array", rows * cols);
    }
    this.#checkOwn("gemm: out", given);
    given.placeFor("gemm: out");
    if (type === "f32" && given.shape[0] === rows && given.shape[1] === cols) return given;
    throw new BlockscaleError("shape", {
      where: "gemm: out",
      expected: `a float32 matrix [${rows}, ${cols}]${type === "f32" ? "" : ", and no type: resident results are float32"}`,
      got: `[${given.shape.join(", ")}]`,
      fix: "Make it with engine.resident([M, N]).",
    });
  }

  #checkOwn(where: string, matrix: ResidentMatrix): void {
    if (this.#resident.has(matrix)) return;
    throw new BlockscaleError("option", {
      where,
      expected: "a matrix in this engine's memory",
      got: "one of another engine",
      fix: "Make it with the engine that multiplies: engine.resident(...).",
    });
  }

  /** See Engine.pack. */
  pack(w: BlockScaled, options: PackOptions): PackedWeights {
    const layout = checkPackLayout(options);
    if (isFp4(w)) return this.pack(asFp8("pack", w), options);
    const [tensor, { format, codes, scales, grid }] = checkUpright("pack", w, layout === "n");
    const { slices, rows, cols } = grid;
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
        { format, shape: [...shape], block: [block[0], block[1]], bytes },
        { kind: "packed", shape, slices, rows, cols, weights: surveyed },
        release,
      );
      this.#packed.add(packed);
      return packed;
    } catch (error) {
      release();
      throw error;
    }
  }

  #rightOf(w: BlockScaled | PackedWeights, isTransposed: boolean): Right {
    if (w instanceof PackedWeights) {
      const place = w.placeFor("gemm: w");
      if (!this.#packed.has(w) || isTransposed) throw wrongPack(isTransposed);
      return place;
    }
    const [tensor, { format, codes, scales, grid }] = checkUpright("gemm: w", w, isTransposed);
    const { slices, rows, cols } = grid;
    // The block as it is given, not cut to the shape: how tall blocks are decides how a product is rounded, packed or not.
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
} {
  return {
    given: outOf("gemm", options),
    layout: checkChoice("gemm: layout", options.layout ?? "nt", ["nt", "nn", "tn", "tt"]),
    type: checkChoice("gemm: type", options.type ?? "f32", ["f32", "bf16"]),
  };
}

export function checkPackLayout(options: PackOptions): "t" | "n" {
  return checkChoice("pack: layout", checkOptions("pack", options).layout ?? "t", ["t", "n"]);
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
  if (operand instanceof ResidentMatrix) return [];
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

function typesOf(format: Format, scales: Uint8Array | Float32Array): Weights["types"] {
  return [FORMAT_ID[format], SCALE_TYPE_ID[scales.BYTES_PER_ELEMENT === 1 ? "ue8m0" : "f32"]];
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
