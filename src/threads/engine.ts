import { checkTensor, outArray, outOf } from "../arrays.ts";
import type { Engine } from "../engine.ts";
import { BlockscaleError } from "../errors.ts";
import type { GemmOptions, LeftOperand } from "../gemm.ts";
import type { PackOptions } from "../pack.ts";
import type { BlockScaled } from "../tensor.ts";
import { transpose } from "../transpose.ts";
import { Pool } from "./pool.ts";
import type { Start } from "./protocol.ts";
import { cut, place, type Slice, slicesOf } from "./slices.ts";

/** Weights of a {@link ThreadedEngine}: every worker has some of their rows in its memory. */
export interface ThreadedWeights {
  /** `[..., N, K]` */
  readonly shape: readonly number[];
  /** Gives the memory of all workers back. */
  free(): Promise<void>;
}

/** What the engine knows of weights that it has packed. */
interface Known {
  readonly key: number;
  readonly rows: number;
  readonly slices: readonly Slice[];
}

/**
 * Matrix products by several workers at once: each has an engine of its own and multiplies by some rows of the
 * weights, so nothing is shared and it runs wherever workers do. Made by `load({ threads })`.
 */
export class ThreadedEngine {
  readonly variant: Engine["variant"];
  readonly threads: number;
  readonly #pool: Pool;
  readonly #packed: WeakMap<ThreadedWeights, Known> = new WeakMap();
  #nextKey = 0;

  /** Use `load({ threads })`. */
  constructor(threads: number, start: Start) {
    this.variant = start.variant;
    this.threads = threads;
    this.#pool = new Pool(threads, start);
  }

  /**
   * As `Engine.gemm`. Packed weights stay with the workers; a record is sent to them for each call.
   * The bits are those of `Engine.gemm` in the same build.
   */
  async gemm(
    x: LeftOperand,
    w: BlockScaled | ThreadedWeights,
    options: GemmOptions = {},
  ): Promise<Float32Array | Uint16Array> {
    const given = outOf("gemm", options);
    const { out: _, ...rest } = options;
    const known = "codes" in w ? undefined : this.#knownOf(w);
    const isTransposed = rest.layout?.[1] === "n";
    const record = "codes" in w ? (isTransposed ? transpose(w) : w) : undefined;
    const checked = record && checkTensor("gemm: w", record);
    const rows = known?.rows ?? checked?.grid.rows ?? 0;
    const slices = known?.slices ?? slicesOf(rows, record?.block[0] ?? 1, this.threads);
    // The record has been turned round already.
    const layout = `${rest.layout?.[0] ?? "n"}${known && isTransposed ? "n" : "t"}` as "nt";
    const parts = await Promise.all(
      slices.map((slice, worker) => {
        if (slice.start === slice.end && worker > 0) return undefined;
        const part = known?.key ?? cut(record as BlockScaled, checked as NonNullable<typeof checked>, slice);
        const transfer = typeof part === "number" ? [] : [part.codes.buffer, part.scales.buffer];
        const task = { kind: "gemm", x, w: part, options: { ...rest, layout } } as const;
        return this.#pool.ask(worker, task, transfer as ArrayBuffer[]);
      }),
    );
    const first = parts[0] as Float32Array | Uint16Array;
    const width = (slices[0] as Slice).end - (slices[0] as Slice).start;
    const m = width === 0 ? 0 : first.length / width;
    const out = outArray(
      "gemm: out",
      given,
      first instanceof Float32Array ? "Float32Array" : "Uint16Array",
      m * rows,
    );
    slices.forEach((slice, worker) => {
      const part = parts[worker];
      if (part) place(out, part, rows, slice, rest.experts);
    });
    return out;
  }

  /** As `Engine.pack`: a copy of some rows for each worker. */
  async pack(w: BlockScaled, options: PackOptions = {}): Promise<ThreadedWeights> {
    checkTensor("pack", w);
    const record = options.layout === "n" ? transpose(w) : w;
    const checked = checkTensor("pack", record);
    const key = this.#nextKey++;
    const slices = slicesOf(checked.grid.rows, record.block[0], this.threads);
    const free = async (): Promise<void> => {
      await Promise.all(slices.map((_, worker) => this.#pool.ask(worker, { kind: "free", key })));
    };
    try {
      await Promise.all(
        slices.map((slice, worker) => {
          const part = cut(record, checked, slice);
          const transfer = [part.codes.buffer, part.scales.buffer] as ArrayBuffer[];
          return this.#pool.ask(worker, { kind: "pack", key, w: part }, transfer);
        }),
      );
    } catch (error) {
      await free().catch(() => {});
      throw error;
    }
    const weights: ThreadedWeights = {
      shape: [...record.shape],
      free: async () => {
        if (this.#packed.delete(weights)) await free();
      },
    };
    this.#packed.set(weights, { key, rows: checked.grid.rows, slices });
    return weights;
  }

  /** Ends the workers. What is under way fails with a BlockscaleError, and so does every later call. */
  close(): Promise<void> {
    return this.#pool.close();
  }

  #knownOf(w: ThreadedWeights): Known {
    const known = this.#packed.get(w);
    if (known) return known;
    throw new BlockscaleError("option", {
      where: "gemm: w",
      expected: "a block-scaled record, or weights that this engine has packed",
      got: "weights that were freed, or of another engine",
      fix: "Pack them with this engine, and free them after the last product.",
    });
  }
}
