import { ROUNDING_ID } from "../tensor/formats.ts";
import { schemes } from "../tensor/schemes.ts";
import { Arena, type Resident } from "../wasm/arena.ts";
import type { Instance } from "../wasm/instantiate.ts";
import { Exchange, type Part, type Shared } from "./exchange.ts";
import type { ModelKernels } from "./kernels.ts";
import type { Range, Seat } from "./share.ts";
import { type Placed, Store, type WeightForm } from "./store.ts";

/** How activations meet weights: as they are, or rounded to FP8 first. */
export type Activations = "f32" | "fp8";

/** What products are made of. */
export interface Precisions {
  readonly activations: Activations;
  readonly weights: WeightForm;
}

/** A product of x with a weight: where its result goes, [rows, N]. */
export interface Linear {
  readonly weight: Placed;
  /** Float32[N], or 0 where there is none. */
  readonly bias: number;
  /** The rows of all members. */
  readonly ranges: readonly Range[];
}

/**
 * What every part of a forward pass stands on: the kernels, the memory with weights and activations, and the members that run the same
 * program. Places are byte offsets of float32 values.
 */
export class Program {
  readonly kernels: ModelKernels;
  readonly arena: Arena;
  readonly store: Store;
  readonly exchange: Exchange;
  /** What becomes of x before it meets weights that are codes. */
  readonly activations: Activations;
  readonly #rooms = new Map<string, { room: Resident; bytes: number }>();

  constructor(
    { kernels, memory }: Instance,
    seat: Seat,
    shared: Shared | null,
    { activations, weights }: Precisions,
  ) {
    this.activations = activations;
    this.kernels = kernels as ModelKernels;
    this.arena = new Arena(memory, kernels.heapBase());
    this.store = new Store(this.kernels, this.arena, weights);
    this.exchange = new Exchange(seat, shared);
  }

  get seat(): Seat {
    return this.exchange.seat;
  }

  get buffer(): ArrayBuffer {
    return this.arena.buffer;
  }

  /**
   * Room of this name for so many float32. It keeps its place until more is asked for, and then loses what was in it.
   * @throws BlockscaleError `memory`
   */
  room(name: string, floats: number): number {
    return this.bytes(name, 4 * floats);
  }

  bytes(name: string, bytes: number): number {
    const held = this.#rooms.get(name);
    if (held !== undefined && held.bytes >= bytes) return held.room.start;
    if (held !== undefined) this.arena.release(held.room);
    this.#rooms.delete(name);
    const room = this.arena.keep(bytes);
    this.#rooms.set(name, { room, bytes });
    return room.start;
  }

  /** A weight with its bias. `ranges` are the rows of all members; a weight that one member uses alone has its own only. */
  linear(key: string, ranges: (seat: Seat) => Range): Linear {
    const { size } = this.seat;
    return {
      weight: this.store.get(key),
      bias: this.store.vector(`${key}.bias`),
      ranges: Array.from({ length: size }, (_, rank) => ranges({ rank, size })),
    };
  }

  /**
   * x as FP8 products on GPUs see it: E4M3 in blocks of 1x128 with scales that are powers of two, as DeepSeek-V3 rounds activations. Products of
   * the rounded values in float32 are those of the codes.
   */
  #rounded(x: number, rows: number, cols: number): number {
    const { kernels } = this;
    const { block, amaxFloor, zeroScale } = schemes.deepseekActivation;
    const codes = this.bytes("activation codes", rows * cols);
    const scales = this.bytes("activation scales", rows * Math.ceil(cols / block[1]));
    const rounded = this.room("rounded", rows * cols);
    const floor = new Int32Array(Float32Array.of(amaxFloor).buffer)[0]!;
    kernels.quantize(0, 0, 0, codes, scales, x, rows, cols, 1, block[1], ROUNDING_ID.rceil, floor, zeroScale);
    kernels.dequantize(0, 0, 0, rounded, codes, scales, rows, cols, 1, block[1]);
    return rounded;
  }

  /** dst[rows, own N] <- x[rows, K] . the own rows of a slice of a weight, transposed, + their bias. */
  multiplyOwn(dst: number, x: number, rows: number, { weight, bias }: Linear, slice = 0): void {
    const own = weight.rows;
    if (rows === 0 || own === 0) return;
    const { kernels } = this;
    const stored = weight.slices[slice]!;
    if (stored.kind === "int7") {
      const work = this.bytes("work", kernels.int7Workspace(rows, weight.cols) >>> 0);
      kernels.gemmInt7(dst, x, rows, stored.codes, stored.scales, own, weight.cols, work);
    } else if (stored.kind === "plain") {
      const work = this.bytes("work", kernels.plainWorkspace(rows, weight.cols) >>> 0);
      kernels.gemmPlain(stored.type, dst, x, rows, stored.start, own, weight.cols, work);
    } else {
      const work = this.bytes("work", kernels.gemmWorkspace(rows, weight.cols) >>> 0);
      const { types, place, survey } = stored;
      const input = this.activations === "fp8" ? this.#rounded(x, rows, weight.cols) : x;
      kernels.gemm(
        types[0],
        0,
        types[1],
        dst,
        input,
        rows,
        ...place,
        survey.list,
        survey.lowestScale,
        survey.highestScale,
        work,
      );
    }
    if (bias !== 0) {
      const start = bias + 4 * (slice * weight.totalRows + weight.range.start);
      kernels.addToRows(dst, 4 * own, start, rows, own);
    }
  }

  /** dst[rows, N] <- x[rows, K] . weight^T + bias, the rows of the weight computed by all members. */
  multiply(dst: number, x: number, rows: number, linear: Linear): void {
    this.multiplyAll(x, rows, [{ dst, linear }]);
  }

  /** The same for several weights that meet the same x, with one exchange. */
  multiplyAll(x: number, rows: number, products: readonly { dst: number; linear: Linear }[]): void {
    const parts: Part[] = products.map(({ dst, linear }, i) => {
      const share = this.seat.size === 1 ? dst : this.room(`share ${i}`, rows * linear.weight.rows);
      this.multiplyOwn(share, x, rows, linear);
      return { share, dst, total: linear.weight.totalRows, ranges: linear.ranges };
    });
    this.exchange.gather(this.buffer, rows, parts);
  }

  /** dst[ids, cols] <- rows of a weight. */
  look(dst: number, ids: ArrayLike<number>, { range, cols, slices }: Placed): void {
    const { kernels } = this;
    const stored = slices[0]!;
    const isOwn = (i: number) => ids[i]! >= range.start && ids[i]! < range.end;
    for (let i = 0; i < ids.length; i++) {
      if (!isOwn(i)) continue;
      const row = ids[i]! - range.start;
      const at = dst + 4 * i * cols;
      if (stored.kind === "int7") throw new Error("a table of integers");
      if (stored.kind === "plain") {
        const bytes = cols * (stored.type === 0 ? 4 : 2);
        kernels.widen(stored.type, at, stored.start + row * bytes, cols);
      } else {
        const [codes, scales, firstRow, , , blockRows, blockCols] = stored.place;
        const scaleRow = Math.ceil(cols / blockCols) * (stored.types[1] === 0 ? 1 : 4);
        const scale = scales + Math.floor((firstRow + row) / blockRows) * scaleRow;
        kernels.dequantize(
          stored.types[0],
          0,
          stored.types[1],
          at,
          codes + row * cols,
          scale,
          1,
          cols,
          1,
          blockCols,
        );
      }
    }
    this.exchange.collect(this.buffer, dst, ids.length, cols, isOwn);
  }

  /** Copies float32 values from one place to another. */
  copy(dst: number, src: number, floats: number): void {
    new Uint8Array(this.buffer).copyWithin(dst, src, src + 4 * floats);
  }

  /** float32 values in memory. Growing memory makes the array useless: use it at once. */
  view(start: number, floats: number): Float32Array {
    return new Float32Array(this.buffer, start, floats);
  }
}
