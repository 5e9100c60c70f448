import { int8Matrix } from "../products/activations.ts";
import { ROUNDING_ID } from "../tensor/formats.ts";
import { schemes } from "../tensor/schemes.ts";
import { MATRIX_BYTES, writeMatrix } from "../wasm/matrix.ts";
import type { Program } from "./program.ts";

/** Columns of int8 activations that share a scale. */
const BLOCK = 32;

/**
 * x [rows, cols] of one product or more, and what it is rounded to, once for all of them. Rooms are the
 * program's: what is rounded lasts until another x is.
 */
export class Rounded {
  readonly #program: Program;
  readonly #x: number;
  readonly #rows: number;
  readonly #cols: number;
  #fp8: number | undefined;
  #int8: number | undefined;

  constructor(program: Program, x: number, rows: number, cols: number) {
    this.#program = program;
    this.#x = x;
    this.#rows = rows;
    this.#cols = cols;
  }

  /** x as float32. */
  get plain(): number {
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
    const rounded = program.room("rounded", rows * cols);
    const floor = new Int32Array(Float32Array.of(amaxFloor).buffer)[0]!;
    kernels.quantize(0, 0, 0, codes, scales, x, rows, cols, 1, block[1], ROUNDING_ID.rceil, floor, zeroScale);
    kernels.dequantize(0, 0, 0, rounded, codes, scales, rows, cols, 1, block[1]);
    return rounded;
  }

  /** Address of the matrix that the kernel `quantizeInt8` makes of x, in blocks of 32. */
  get int8(): number {
    this.#int8 ??= this.#roundInt8();
    return this.#int8;
  }

  #roundInt8(): number {
    const program = this.#program;
    const [rows, cols] = [this.#rows, this.#cols];
    const blocks = Math.ceil(cols / BLOCK);
    const at = program.bytes("int8 matrix", MATRIX_BYTES);
    const codes = program.bytes("int8 codes", rows * blocks * BLOCK);
    const scales = program.room("int8 scales", rows * blocks);
    const offsets = program.room("int8 offsets", rows * blocks);
    writeMatrix(program.buffer, at, int8Matrix({ codes, scales, offsets, rows, cols, blockCols: BLOCK }));
    program.kernels.quantizeInt8(at, 0, this.#x, rows);
    return at;
  }
}
