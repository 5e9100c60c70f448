/// <reference lib="esnext.disposable" preserve="true" />
import type { Engine } from "../engine/engine.ts";
import { Int8Activations } from "../products/activations.ts";
import { checkLeft } from "../products/left.ts";
import { checkGemmOptions, checkPackOptions } from "../products/options.ts";
import type { PackOptions } from "../products/packed.ts";
import type { GemmActivations, GemmOptions, LeftOperand } from "../products/products.ts";
import { ResidentMatrix } from "../products/resident.ts";
import { checkRightOperand } from "../products/right.ts";
import { outArray } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { BlockScaled } from "../tensor/tensor.ts";
import { engineOf } from "./gemm-runner.ts";
import { GemmThreads } from "./gemm-threads.ts";
import { checkPort } from "./lend.ts";
import type { Start, Task } from "./protocol.ts";
import { cutRows, putColumns, type ThreadRows, threadRowsOf } from "./rows.ts";
import { SharedOperand } from "./shared-operand.ts";

/** Weights of a {@link ThreadedEngine}: every thread has some of their rows in its memory. */
export interface ThreadedWeights {
  /** `[..., N, K]` */
  readonly shape: readonly number[];
  /** Gives the memory of all threads back; so does the end of an `await using` block. */
  free(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Weights that the engine has packed: their key in all threads, and the rows that each thread has. */
interface PackedRows {
  readonly key: number;
  readonly activations: GemmActivations | undefined;
  readonly rows: number;
  readonly ranges: readonly ThreadRows[];
}

/** The right operand split by rows: what each worker receives, and which of its buffers are transferred. */
interface SplitOperand {
  readonly rows: number;
  readonly ranges: readonly ThreadRows[];
  /** How the parts lie: records have been transposed where they had to be. */
  readonly layoutOfW: "t" | "n";
  /** How products round x for packed weights, unless a product says otherwise. */
  readonly activations?: GemmActivations | undefined;
  partOf(range: ThreadRows): [w: BlockScaled | number, transfer: ArrayBuffer[]];
}

/**
 * Matrix products by several threads at once: each has an engine of its own and multiplies by some
 * rows of the weights, so it runs wherever workers do. Where memory can be shared, one copy of x
 * serves all threads. Made by `load({ threads })`.
 *
 * The calling thread is one of them, and is busy with its share when `gemm` returns its promise. Not so on a
 * page, which would stand still meanwhile: there all the work is done by workers.
 */
export class ThreadedEngine {
  readonly variant: Engine["variant"];
  readonly threads: number;
  /** As `Engine.encode`: casts are bound by memory, and done by the calling thread. */
  readonly encode: Engine["encode"];
  /** As `Engine.decode`, in the calling thread. */
  readonly decode: Engine["decode"];
  /** As `Engine.quantize`, in the calling thread. */
  readonly quantize: Engine["quantize"];
  /** As `Engine.dequantize`, in the calling thread. */
  readonly dequantize: Engine["dequantize"];
  /** As `Engine.compare`, in the calling thread. */
  readonly compare: Engine["compare"];
  readonly #workers: GemmThreads;
  readonly #sharedX: SharedOperand = new SharedOperand();
  readonly #packed: WeakMap<ThreadedWeights, PackedRows> = new WeakMap();
  /** The engine of the calling thread. "auto" is timed on it, so that no thread decides for itself. */
  readonly #local: Engine;
  #nextKey = 0;

  private constructor(threads: number, local: Engine, workers: GemmThreads) {
    this.variant = local.variant;
    this.threads = threads;
    this.#workers = workers;
    this.#local = local;
    this.encode = local.encode.bind(local);
    this.decode = local.decode.bind(local);
    this.quantize = local.quantize.bind(local);
    this.dequantize = local.dequantize.bind(local);
    this.compare = local.compare.bind(local);
  }

  /** Use `load({ threads })`. */
  static async open(threads: number, start: Start, lender?: MessagePort): Promise<ThreadedEngine> {
    checkPort("load", lender);
    const local = engineOf(start);
    return new ThreadedEngine(threads, local, await GemmThreads.open(threads, start, local, lender));
  }

  /**
   * As `Engine.gemm`. Packed weights stay with the threads; a record is sent to them for each call. The bits
   * are those of `Engine.gemm` in the same build, as long as scales and x stay within 2^-60 and 2^60: beyond,
   * a thread chooses the order of roundings by the scales it has.
   */
  async gemm(
    x: LeftOperand,
    w: BlockScaled | ThreadedWeights,
    options: GemmOptions = {},
  ): Promise<Float32Array | Uint16Array> {
    const { given, layout, type, activations: asked } = checkGemmOptions(options);
    const { experts } = options;
    const { operand, rows: xRows, cols: xCols } = checkLeft("gemm: x", x);
    if (operand instanceof ResidentMatrix || operand instanceof Int8Activations) throw notShared();
    if (given instanceof ResidentMatrix) throw notShared();
    const right = this.#rightOf(w, layout[1] as "t" | "n");
    const { rows, ranges, layoutOfW, partOf } = right;
    const activations = asked ?? right.activations;
    const m = layout[0] === "t" ? xCols : xRows;
    const out = outArray("gemm: out", given, type === "f32" ? "Float32Array" : "Uint16Array", m * rows);
    const passed = { type, layout: `${layout[0]}${layoutOfW}`, experts, activations } as GemmOptions;
    const faster = activations === "auto" ? this.#local.fasterActivations : undefined;
    const parts = await this.#sharedX.withShared(operand, (shared) =>
      this.#askAll(ranges, (range, thread) => {
        if (range.start === range.end && thread > 0) return undefined;
        const [part, transfer] = partOf(range);
        return [{ kind: "gemm", x: shared, w: part, options: passed, faster }, transfer];
      }),
    );
    ranges.forEach((range, thread) => {
      const part = parts[thread];
      if (part) putColumns(out, part, rows, range, experts);
    });
    return out;
  }

  /**
   * As `Engine.pack`: a copy of some rows for each thread. FP4 takes a byte a weight here, and values
   * without a scale have to be quantised first.
   */
  async pack(w: BlockScaled, options: PackOptions = {}): Promise<ThreadedWeights> {
    const { layout, ...rest } = checkPackOptions(options);
    const checked = checkRightOperand("pack", w, layout === "n");
    const { shape, block, grid } = checked;
    const key = this.#nextKey++;
    const ranges = threadRowsOf(grid.rows, block[0], this.threads);
    const free = async (): Promise<void> => {
      await this.#askAll(ranges, () => [{ kind: "free", key }]);
    };
    try {
      await this.#askAll(ranges, (range) => {
        const part = cutRows(checked, range);
        return [
          { kind: "pack", key, w: part, options: rest },
          [part.codes.buffer, part.scales.buffer] as ArrayBuffer[],
        ];
      });
    } catch (error) {
      await free().catch(() => {});
      throw error;
    }
    const freeOnce = async (): Promise<void> => {
      if (this.#packed.delete(weights)) await free();
    };
    const weights = { shape: [...shape], free: freeOnce } as Omit<
      ThreadedWeights,
      typeof Symbol.asyncDispose
    > as ThreadedWeights;
    // Hosts of 2024 and before have no such symbol.
    if (Symbol.asyncDispose) weights[Symbol.asyncDispose] = freeOnce;
    this.#packed.set(weights, { key, activations: rest.activations, rows: grid.rows, ranges });
    return weights;
  }

  /** Ends the workers. What is under way fails with a BlockscaleError, and so does every later call. */
  close(): Promise<void> {
    return this.#workers.close();
  }

  declare [Symbol.asyncDispose]: () => Promise<void>;

  /** The answers of all threads; the calling thread works last, when the others have begun. */
  #askAll(
    ranges: readonly ThreadRows[],
    ask: (range: ThreadRows, thread: number) => [task: Task, transfer?: ArrayBuffer[]] | undefined,
  ): Promise<(Float32Array | Uint16Array | undefined)[]> {
    const answers = [...ranges.keys()].reverse().map((thread) => {
      const asked = ask(ranges[thread] as ThreadRows, thread);
      return asked && this.#workers.ask(thread, ...asked);
    });
    return Promise.all(answers.reverse());
  }

  #rightOf(w: BlockScaled | ThreadedWeights, layoutOfW: "t" | "n"): SplitOperand {
    if (typeof w !== "object" || w === null || !("codes" in w)) {
      const { key, rows, ranges, activations } = this.#packedRows(w);
      return { rows, ranges, layoutOfW, activations, partOf: () => [key, []] };
    }
    const checked = checkRightOperand("gemm: w", w, layoutOfW === "n");
    const partOf = (range: ThreadRows): [BlockScaled, ArrayBuffer[]] => {
      const part = cutRows(checked, range);
      return [part, [part.codes.buffer as ArrayBuffer, part.scales.buffer as ArrayBuffer]];
    };
    const { rows } = checked.grid;
    return { rows, ranges: threadRowsOf(rows, checked.block[0], this.threads), layoutOfW: "t", partOf };
  }

  #packedRows(w: ThreadedWeights): PackedRows {
    const packed = this.#packed.get(w);
    if (packed) return packed;
    throw new BlockscaleError("option", {
      where: "gemm: w",
      expected: "a block-scaled record, or weights that this engine has packed",
      got: "weights that were freed, or of another engine",
      fix: "Pack them with this engine, and free them after the last product.",
    });
  }
}

function notShared(): BlockscaleError {
  return new BlockscaleError("option", {
    where: "gemm",
    expected: "arrays, which all threads can read and write",
    got: "a matrix that is in the memory of one engine",
    fix: "Pass { values: matrix.read(), shape }, or use an engine without threads.",
  });
}

if (Symbol.asyncDispose) ThreadedEngine.prototype[Symbol.asyncDispose] = ThreadedEngine.prototype.close;
