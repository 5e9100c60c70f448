import { type Int8Block, int8Matrix } from "../products/activations.ts";
import { FORMAT_ID, ROUNDING_ID, SCALE_TYPE_ID, VALUE_TYPE_ID } from "../tensor/formats.ts";
import { schemes } from "../tensor/schemes.ts";
import { MATRIX, matrixRecord } from "../wasm/matrix.ts";
import type { Program } from "./program.ts";

/**
 * x [rows, cols] of one product or more, and what it is rounded to, once for all of them. Its buffers are the
 * program's: what is rounded stays until another x is rounded.
 */
export class RoundedInput {
  readonly #program: Program;
  readonly #x: number;
  readonly #rows: number;
  readonly #cols: number;
  #fp8: number | undefined;
  readonly #int8 = new Map<Int8Block, number>();

  constructor(program: Program, x: number, rows: number, cols: number) {
    this.#program = program;
    this.#x = x;
    this.#rows = rows;
    this.#cols = cols;
  }

  /** x as float32. */
  get float32(): number {
    return this.#x;
  }

  /**
   * x as FP8 products on GPUs see it: E4M3 in blocks of 1x128 with scales that are powers of two, as
   * DeepSeek-V3 rounds activations. Products of the rounded values in float32 are those of the codes.
   */
  get fp8(): number {
    this.#fp8 ??= this.#roundFp8();
    return this.#fp8;
  }

  #roundFp8(): number {
    const program = this.#program;
    const { kernels } = program;
    const [x, rows, cols] = [this.#x, this.#rows, this.#cols];
    const { block, amaxFloor, zeroScale } = schemes.deepseekActivation;
    const codes = program.bytes("activation codes", rows * cols);
    const scales = program.bytes("activation scales", rows * Math.ceil(cols / block[1]));
    const rounded = program.floats("rounded", rows * cols);
    const floor = new Int32Array(Float32Array.of(amaxFloor).buffer)[0]!;
    const [format, scaleType, blockCols] = [FORMAT_ID.e4m3, SCALE_TYPE_ID.ue8m0, block[1]];
    const fields = matrixRecord({ format, scaleType, codes, scales, rows, cols, blockCols });
    const matrix = program.call(MATRIX, fields);
    kernels.quantize(matrix, VALUE_TYPE_ID.f32, x, ROUNDING_ID.rceil, floor, zeroScale);
    kernels.dequantize(matrix, VALUE_TYPE_ID.f32, rounded);
    return rounded;
  }

  /**
   * Address of the matrix that the kernel `quantizeInt8` makes of x.
   * @param block columns that share a scale: a divisor of those of the weights
   */
  int8(block: Int8Block): number {
    const at = this.#int8.get(block) ?? this.#roundInt8(block);
    this.#int8.set(block, at);
    return at;
  }

  #roundInt8(block: Int8Block): number {
    const program = this.#program;
    const [rows, cols] = [this.#rows, this.#cols];
    const blocks = Math.ceil(cols / block);
    const at = program.bytes(`int8 matrix ${block}`, MATRIX.bytes);
    const codes = program.bytes(`int8 codes ${block}`, rows * blocks * block);
    const scales = program.floats(`int8 scales ${block}`, rows * blocks);
    const offsets = program.floats(`int8 offsets ${block}`, rows * blocks);
    MATRIX.write(program.buffer, at, int8Matrix({ codes, scales, offsets, rows, cols, blockCols: block }));
    program.kernels.quantizeInt8(at, 0, this.#x, rows);
    return at;
  }
}
