import type { Int8Activations, Int8Block } from "../products/activations.ts";
import { notAMatrix } from "../products/left.ts";
import type { PlainWeights } from "../products/pack-integers.ts";
import type { PackedWeights, PackOptions } from "../products/packed.ts";
import { type GemmOptions, type LeftOperand, type Matrix, Products } from "../products/products.ts";
import { ResidentMatrix } from "../products/resident.ts";
import {
  type CheckedTensor,
  checkArray,
  checkDisjoint,
  checkTensor,
  checkValues,
  isRecord,
  newArray,
  type RawValues,
} from "../tensor/checks.ts";
import { BlockscaleError, shown } from "../tensor/errors.ts";
import { checkChoice, checkKnown, outOption } from "../tensor/options.ts";
import type { Scheme, SchemeName } from "../tensor/schemes.ts";
import { asFp8, isSubByte } from "../tensor/sub-byte.ts";
import { type BlockScaled, type Format, gridOf, type Values, type ValueType } from "../tensor/tensor.ts";
import { Arena } from "../wasm/arena.ts";
import type { Instance } from "../wasm/instantiate.ts";
import type { Kernels } from "../wasm/kernels.ts";
import { Casts, type QuantizeOut } from "./casts.ts";
import { type Compared, compareValues } from "./compare.ts";
import type { Precision } from "./precision.ts";
import { saturatedIn } from "./saturation.ts";

/** The options of a method that has none so far: any name in them is refused. */
type NoOptions = { readonly [name: string]: never };

/**
 * Block-scaled FP8 operations on one set of kernels. All methods are synchronous and check their arguments
 * before any memory is touched; errors are of class {@link BlockscaleError}. Methods that return arrays take
 * the caller's own as `out`: allocating the result is the largest cost of a large call.
 */
export class Engine {
  /** Which kernels run: a WebAssembly build, or plain JavaScript. */
  readonly variant: "relaxed" | "baseline" | "custom" | "js";
  readonly #kernels: Kernels;
  readonly #arena: Arena;
  readonly #casts: Casts;
  readonly #products: Products;

  /** Use `load()`. */
  constructor(instance: Instance, variant: Engine["variant"]) {
    this.variant = variant;
    this.#kernels = instance.kernels;
    this.#arena = new Arena(instance.memory, instance.kernels.heapBase());
    this.#casts = new Casts(this.#kernels, this.#arena);
    this.#products = new Products(this.#kernels, this.#arena, (tensor) => {
      const out = newArray("gemm: x", "Float32Array", tensor.grid.elements);
      return this.#casts.dequantize(tensor, "f32", out);
    });
  }

  /**
   * Codes of float32 values, without a scale: nearest even, saturating (Inf too); NaN is 0x7F with its sign,
   * and in E2M1 and E2M3, which have none, the largest value with its sign.
   * @param options.out `values.length` codes; half as many bytes for E2M1, three quarters for E2M3, rounded
   * up
   */
  encode(values: Float32Array, format: Format, options: { out?: Uint8Array } = {}): Uint8Array {
    return this.#casts.encode(values, format, options);
  }

  /**
   * float32 values of codes, without a scale.
   * @param options.out `codes.length` values; twice as many for E2M1, four of three bytes for E2M3
   */
  decode(codes: Uint8Array, format: Format, options: { out?: Float32Array } = {}): Float32Array {
    return this.#casts.decode(codes, format, options);
  }

  /**
   * Quantises `values` of `shape` `[..., rows, cols]` by a scheme: one scale per block, one code per element.
   * A block with NaN or Inf gets the scale NaN (0xFF) and decodes to NaN.
   * @param given a scheme, or its name: "mxfp8", "deepseekWeight"
   * @param options.out arrays of the same lengths as the result's codes and scales
   */
  quantize(
    values: Values,
    shape: readonly number[],
    given: Scheme | SchemeName,
    options: { out?: QuantizeOut } = {},
  ): BlockScaled {
    return this.#casts.quantize(values, shape, given, options);
  }

  /**
   * Values of a block-scaled tensor: code * scale in float32, then one
   * rounding to nearest even for bf16 and f16.
   * @param type of the result: "f32" (Float32Array), or "bf16" and "f16" (Uint16Array of bits)
   * @param options.out as many elements as the tensor has; or, of float32, a {@link resident}
   * matrix of its shape, [slices * rows, cols] if that has leading dimensions, which the
   * kernel writes into: nothing is copied out
   */
  dequantize(tensor: BlockScaled, type: "f32" | undefined, options: { out: ResidentMatrix }): ResidentMatrix;
  dequantize(tensor: BlockScaled, type?: "f32", options?: { out?: Float32Array }): Float32Array;
  dequantize(tensor: BlockScaled, type: "bf16" | "f16", options?: { out?: Uint16Array }): Uint16Array;
  dequantize(
    tensor: BlockScaled,
    type?: ValueType,
    options?: { out?: Float32Array | Uint16Array },
  ): Float32Array | Uint16Array;
  dequantize(
    tensor: BlockScaled,
    type: ValueType = "f32",
    options: { out?: Float32Array | Uint16Array | ResidentMatrix } = {},
  ): Float32Array | Uint16Array | ResidentMatrix {
    checkChoice("dequantize: type", type, ["f32", "bf16", "f16"]);
    const given = outOption("dequantize", options);
    const checked = checkTensor("dequantize", tensor);
    const { codes, scales, grid } = checked;
    const out = this.#products.resultFor("dequantize: out", given, type, [
      grid.slices * grid.rows,
      grid.cols,
    ]);
    if (!(out instanceof ResidentMatrix)) {
      checkDisjoint("dequantize: out", out, codes);
      checkDisjoint("dequantize: out", out, scales);
    }
    return this.#casts.dequantize(asFp8(checked), type, out);
  }

  /**
   * Measures how far `result` is from `values`. Each is an array of values or a block-scaled tensor; both
   * have as many elements, in the same order, and two tensors the same shape. Sums are float64, and the same
   * in every build and runtime.
   * @param options.groupSums two numbers for each group of sixteen values, in the order of their memory: the
   * sums of their squares and of the squares of their errors, NaN and Inf left out. Columns, and those of a
   * block, must be a multiple of 16
   */
  compare(
    values: Values | BlockScaled,
    result: Values | BlockScaled,
    options: { readonly groupSums?: Float64Array } = {},
  ): Precision {
    const { groupSums } = checkKnown("compare", options, ["groupSums"]);
    const tensor = isTensor(result) ? checkTensor("compare: result", result) : undefined;
    let x = isTensor(values)
      ? checkTensor("compare: values", values)
      : checkValues("compare: values", values, tensor?.grid.elements);
    const length = "codes" in x ? x.grid.elements : x.data.length;
    const y = tensor ?? checkValues("compare: result", result as Values, length);
    if ("codes" in x && tensor !== undefined) {
      checkSameShape(x, tensor);
      // Chunks follow one grid: of two tensors, the first is taken as values.
      x = { type: "f32", data: this.dequantize(x) };
    }
    const fp8 = (side: Compared): Compared => ("codes" in side ? asFp8(side) : side);
    const precision = compareValues(this.#kernels, this.#arena, fp8(x), fp8(y), groupSums);
    if (tensor === undefined || !isSubByte(tensor.format)) return precision;
    const { format } = tensor;
    return { ...precision, saturated: saturatedIn(x as RawValues, { ...tensor, format }) };
  }

  /**
   * The matrix product x [M, K] . w [N, K]^T, summed in float32: DeepGEMM's "nt", and its other layouts by
   * `layout`. `x` is float32 (only the weights are quantised) or block-scaled; `w` a block-scaled record or
   * what {@link pack} made of it. Within gamma_k * sum |x||w| of the exact product: k is K, and one more for
   * each operand with float32 scales. Below float32's normal range a rounding costs up to 2^-150 instead;
   * sums on the way that pass its end are Inf or NaN. NaN and Inf propagate.
   * @param options.layout "nt", "nn" (w is [K, N]), "tn" and "tt" (x is [K, M])
   * @param options.type of the result: "f32" (Float32Array), or "bf16" (Uint16Array of bits), rounded once
   * @param options.experts one number per row of x: which slice of w [E, N, K] it meets;
   * -1 for rows to leave alone
   * @param options.out M * N elements, or a {@link resident} matrix [M, N]
   * @param options.activations "f32"; "int8": x is rounded to integers first, which all codes but E5M2 in
   * blocks of a multiple of 16 columns can meet; "auto"
   * @returns [M, N], row-major
   */
  gemm(
    x: LeftOperand,
    w: BlockScaled | PackedWeights,
    options: GemmOptions & { out: ResidentMatrix },
  ): ResidentMatrix;
  gemm(
    x: LeftOperand,
    w: BlockScaled | PackedWeights,
    options?: GemmOptions & { type?: "f32"; out?: Float32Array },
  ): Float32Array;
  gemm(
    x: LeftOperand,
    w: BlockScaled | PackedWeights,
    options: GemmOptions & { type: "bf16"; out?: Uint16Array },
  ): Uint16Array;
  gemm(
    x: LeftOperand,
    w: BlockScaled | PackedWeights,
    options: GemmOptions = {},
  ): Float32Array | Uint16Array | ResidentMatrix {
    return this.#products.gemm(x, w, options);
  }

  /**
   * Rounds x [M, K] to int8, once for any number of products: as x of {@link gemm}. It
   * is in the engine's memory until `free()`.
   * @param options.block columns that share a scale: 32; 16 for weights in blocks of 16 columns such as
   * NVFP4; 128, faster, if all are E4M3 codes in blocks of 128 columns
   * @throws BlockscaleError `option`, `shape`, `buffer`, `memory`; `wasm`: a
   * host that computes sums of integers wrongly
   */
  activations(x: LeftOperand, options: { readonly block?: Int8Block } = {}): Int8Activations {
    const { block = 32 } = checkKnown("activations", options, ["block"]);
    if (block !== 16 && block !== 32 && block !== 128) {
      throw new BlockscaleError("option", {
        where: "activations: block",
        expected: "16, 32 or 128",
        got: shown(block),
        fix: "Leave it out for 32; weights in blocks of 16 columns take 16, E4M3 codes in blocks of 128 columns may take 128.",
      });
    }
    return this.#products.activations(x, block);
  }

  /**
   * What "auto" means for products of this engine: the faster of both, found by
   * timing them once (the first read takes some 25 ms), or what it was set to.
   */
  get fasterActivations(): "f32" | "int8" {
    return this.#products.fasterActivations();
  }

  set fasterActivations(faster: "f32" | "int8") {
    this.#products.setFasterActivations(faster);
  }

  /**
   * Room for a float32 matrix in the engine's memory. Products read x and write `out` there without a copy.
   * @param source its shape [rows, cols], for a matrix of zeros; or { values, shape }
   * @example
   * const hidden = fp8.resident([1, 4096]);
   * fp8.gemm(x, w1, { out: hidden });
   * fp8.gemm(hidden, w2, { out: y });
   * @param options none so far
   * @throws BlockscaleError `shape`, `buffer`, `option`; `memory`: the host has none left
   */
  resident(source: readonly [number, number] | Matrix, options: NoOptions = {}): ResidentMatrix {
    checkKnown("resident", options, []);
    const values = Array.isArray(source) ? undefined : (source as Matrix)?.values;
    const shape = Array.isArray(source) ? source : (source as Matrix)?.shape;
    const { slices, rows, cols } = gridOf("resident", shape, [1, 1]);
    if (slices !== 1) throw notAMatrix("resident", shape);
    if (values !== undefined) checkArray("resident: values", values, "Float32Array", rows * cols);
    const matrix = this.#products.resident([rows, cols]);
    if (values !== undefined) matrix.write(values);
    return matrix;
  }

  /**
   * Copies weights into the engine's memory, where they stay for any number of products: a byte per
   * weight, its share of the scales, and at most a sixteenth of a byte for subnormal codes, which are
   * kept apart. An engine holds up to 4 GiB.
   * @param options.layout "t" for [N, K], "n" for [K, N], which is transposed once
   * @param options.weights "codes", or "int7": integers for products with
   * int8 activations, also of { values, shape }
   * @param options.activations "int8" keeps FP4 at half a byte a weight
   * @throws BlockscaleError `memory`: the engine is full; free other weights, or use a second engine
   */
  pack(w: BlockScaled | PlainWeights, options: PackOptions = {}): PackedWeights {
    return this.#products.pack(w, options);
  }
}

function checkSameShape({ shape }: CheckedTensor, { shape: other }: CheckedTensor): void {
  if (String(shape) === String(other)) return;
  throw new BlockscaleError("shape", {
    where: "compare: result",
    expected: `a tensor of the shape of the values, [${shape.join(", ")}]`,
    got: `[${other.join(", ")}]`,
    fix: "Check that both are of one weight, and that neither is transposed.",
  });
}

function isTensor(value: Values | BlockScaled): value is BlockScaled {
  return isRecord(value) && "codes" in value;
}
