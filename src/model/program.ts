import type { Int8Block } from "../products/activations.ts";
import { integerBlockOf } from "../products/pack-integers.ts";
import type { PreparedWeights } from "../products/right.ts";
import { type FormatId, factsOf } from "../tensor/formats.ts";
import { type Allocation, Arena } from "../wasm/arena.ts";
import type { Instance } from "../wasm/instantiate.ts";
import type { RecordLayout, RecordOf } from "../wasm/record.ts";
import { Exchange, type ExchangeMemory, type GatheredMatrix } from "./exchange.ts";
import type { ModelKernels } from "./kernels.ts";
import { type LoadedTensor, readRowsAsFloat32 } from "./loaded-tensor.ts";
import { EXACT, type Precisions } from "./precisions.ts";
import { RoundedInput } from "./rounded.ts";
import { Store } from "./store.ts";
import type { Range, Team } from "./team.ts";

/** A linear layer: its weight [N, K] and bias. */
export interface Linear {
  readonly weight: LoadedTensor;
  /** Address of float32 [N], or 0 where there is none. */
  readonly bias: number;
  /** The rows of the weight that each member has. */
  readonly ranges: readonly Range[];
}

/** Bytes of the largest record of arguments, and more. */
export const CALL_BYTES = 128;

/**
 * The context of a pass in one member, which all parts of it use (no list of steps): the kernels, the memory
 * with weights and activations, and the exchange with other members. Tensors are given by their addresses
 * (byte offsets), and are float32.
 */
export class Program {
  readonly kernels: ModelKernels;
  readonly arena: Arena;
  readonly store: Store;
  readonly exchange: Exchange;
  readonly precisions: Precisions;
  readonly #call: number;
  readonly #buffers = new Map<string, { allocation: Allocation; bytes: number }>();
  /**
   * Called before each product of x[rows, cols] with a slice of a weight, to measure activations.
   */
  onProduct: ((weight: LoadedTensor, slice: number, x: number, rows: number) => void) | null = null;

  constructor(
    { kernels, memory }: Instance,
    team: Team,
    shared: ExchangeMemory | null,
    precisions: Partial<Precisions>,
  ) {
    this.precisions = { ...EXACT, ...precisions };
    this.kernels = kernels as ModelKernels;
    this.arena = new Arena(memory, kernels.heapBase());
    this.store = new Store(this.kernels, this.arena, this.precisions.weights);
    this.exchange = new Exchange(team, shared);
    this.#call = this.ownBytes("call", CALL_BYTES);
  }

  get team(): Team {
    return this.exchange.team;
  }

  get buffer(): ArrayBuffer {
    return this.arena.buffer;
  }

  /**
   * The address of the buffer of this name, which holds at least `count` float32. A buffer keeps its address
   * and contents until a larger one is asked for under its name; then the contents are lost.
   * @throws BlockscaleError `memory`
   */
  floats(name: string, count: number): number {
    return this.bytes(name, 4 * count);
  }

  /** As {@link floats}, with a size in bytes. */
  bytes(name: string, bytes: number): number {
    const found = this.#buffers.get(name);
    if (found !== undefined && found.bytes >= bytes) return found.allocation.start;
    if (found !== undefined) this.arena.release(found.allocation);
    this.#buffers.delete(name);
    const allocation = this.arena.allocate(bytes);
    this.#buffers.set(name, { allocation, bytes });
    return allocation.start;
  }

  /**
   * The address of a buffer that this member alone uses. Where all members work on one memory, each of them
   * has to ask for it, in the same order: it is one buffer for all, of which each uses its own part.
   */
  ownBytes(name: string, bytes: number): number {
    const { member, size } = this.team;
    const part = 64 * Math.ceil(bytes / 64);
    return this.bytes(name, part * size) + part * member;
  }

  /** Writes the arguments of a kernel's call into memory, where those of the next call overwrite them.
   * @returns their address */
  call<T extends RecordOf<T>>(layout: RecordLayout<T>, record: T): number {
    layout.write(this.buffer, this.#call, record);
    return this.#call;
  }

  /**
   * A weight with its bias. `ranges` are the rows of all members; a weight that one member uses alone has its
   * own only.
   */
  linear(key: string, ranges: (team: Team) => Range): Linear {
    const { size } = this.team;
    return {
      weight: this.store.get(key),
      bias: this.store.vector(`${key}.bias`),
      ranges: Array.from({ length: size }, (_, member) => ranges({ member, size })),
    };
  }

  /** dst[rows, own N] <- x[rows, K] . the own rows of a slice of a weight, transposed, + their bias. */
  multiplyOwn(dst: number, x: number, rows: number, linear: Linear, slice = 0): void {
    this.multiplyOwnAll(x, rows, [{ dst, linear }], slice);
  }

  /** As `multiplyOwn`, for several weights that meet the same x, which is rounded once. */
  multiplyOwnAll(
    x: number,
    rows: number,
    products: readonly { dst: number; linear: Linear }[],
    slice = 0,
  ): void {
    const [first] = products;
    if (rows === 0 || first === undefined) return;
    for (const { linear } of products) this.onProduct?.(linear.weight, slice, x, rows);
    const input = new RoundedInput(this, x, rows, first.linear.weight.cols);
    for (const { dst, linear } of products) this.#multiply(dst, input, rows, linear, slice);
  }

  #multiply(dst: number, x: RoundedInput, rows: number, { weight, bias }: Linear, slice: number): void {
    const own = weight.rows;
    if (own === 0) return;
    const { kernels } = this;
    const { cols } = weight;
    const stored = weight.slices[slice]!;
    if (stored.kind === "int7") {
      const work = this.bytes("work", kernels.integerWorkspace(rows) >>> 0);
      kernels.gemmIntegers(
        stored.matrixAt,
        0,
        dst,
        x.int8(stored.matrix.blockCols as Int8Block),
        0,
        rows,
        work,
      );
    } else if (stored.kind === "plain") {
      const work = this.bytes("work", kernels.plainWorkspace(rows, cols) >>> 0);
      kernels.gemmPlain(stored.type, dst, x.float32, rows, stored.start, own, cols, work);
    } else this.#multiplyCodes(dst, x, rows, stored, weight.isSubByte);
    if (bias !== 0) {
      const start = bias + 4 * (slice * weight.totalRows + weight.range.start);
      kernels.addToRows(dst, 4 * own, start, rows, own);
    }
  }

  #multiplyCodes(
    dst: number,
    x: RoundedInput,
    rows: number,
    { matrixAt, matrix }: PreparedWeights,
    isSubByte: boolean,
  ): void {
    const { kernels } = this;
    const { format, cols, blockCols } = matrix;
    const { activations, int8Rows } = this.precisions;
    const wantsIntegers = activations === "int8" && rows >= int8Rows;
    const block = wantsIntegers ? integerBlockOf(blockCols, cols) : undefined;
    if (block !== undefined && block >= 32 && factsOf(format as FormatId).hasIntegerProducts) {
      const work = this.bytes("work", kernels.integerWorkspace(rows) >>> 0);
      kernels.gemmIntegers(matrixAt, 0, dst, x.int8(block), 0, rows, work);
      return;
    }
    const work = this.bytes("work", kernels.gemmWorkspace(rows, cols) >>> 0);
    const input = activations === "fp8" && !isSubByte ? x.fp8 : x.float32;
    kernels.gemm(matrixAt, 0, dst, input, rows, work);
  }

  /** dst[rows, N] <- x[rows, K] . weight^T + bias, the rows of the weight computed by all members. */
  multiply(dst: number, x: number, rows: number, linear: Linear): void {
    this.multiplyAll(x, rows, [{ dst, linear }]);
  }

  /** As `multiply`, for several weights that meet the same x, with one exchange. */
  multiplyAll(x: number, rows: number, products: readonly { dst: number; linear: Linear }[]): void {
    const gathered: GatheredMatrix[] = products.map(({ dst, linear }, i) => ({
      shareAt: this.team.size === 1 ? dst : this.floats(`share ${i}`, rows * linear.weight.rows),
      dst,
      total: linear.ranges.at(-1)!.end,
      ranges: linear.ranges,
    }));
    this.multiplyOwnAll(
      x,
      rows,
      products.map(({ linear }, i) => ({ dst: gathered[i]!.shareAt, linear })),
    );
    this.exchange.gatherColumns(this.buffer, rows, gathered);
  }

  /** dst[ids, cols] <- rows of a weight. */
  lookUp(dst: number, ids: ArrayLike<number>, { range, cols, slices }: LoadedTensor): void {
    const slice = slices[0]!;
    const isOwn = (i: number) => ids[i]! >= range.start && ids[i]! < range.end;
    for (let i = 0; i < ids.length; i++)
      if (isOwn(i))
        readRowsAsFloat32(
          this.kernels,
          this.arena,
          dst + 4 * i * cols,
          slice,
          ids[i]! - range.start,
          1,
          cols,
        );
    this.exchange.gatherRows(this.buffer, dst, ids.length, cols, isOwn);
  }

  /** Copies float32 values from one address to another. */
  copy(dst: number, src: number, floats: number): void {
    new Uint8Array(this.buffer).copyWithin(dst, src, src + 4 * floats);
  }

  /** float32 values where they lie. The view ends when memory grows: use it at once. */
  view(start: number, floats: number): Float32Array {
    return new Float32Array(this.buffer, start, floats);
  }
}
