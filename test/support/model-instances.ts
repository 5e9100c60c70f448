import { readFile } from "node:fs/promises";
import type { ModelKernels } from "../../src/model/kernels.ts";
import { instantiate, type LinearMemory } from "../../src/wasm/instantiate.ts";
import { MATRIX, type MatrixRecord } from "../../src/wasm/matrix.ts";
import { compileModule } from "../../src/wasm/module.ts";
import type { RecordLayout, RecordOf } from "../../src/wasm/record.ts";
import { once } from "./once.ts";

/** The kernels of models and their memory, for tests that read and write it. */
export interface KernelMemory {
  readonly kernels: ModelKernels;
  /** Copies values into memory. @returns their address */
  put(values: Float32Array | Uint16Array | Uint8Array | Int32Array): number;
  /** Allocates bytes. @returns their address */
  allocate(bytes: number): number;
  /** Writes the record of a matrix. @returns its address */
  putMatrix(matrix: MatrixRecord): number;
  /** Writes the arguments of a kernel. @returns their address */
  putRecord<T extends RecordOf<T>>(layout: RecordLayout<T>, record: T): number;
  floats(start: number, n: number): Float32Array;
  ints(start: number, n: number): Int32Array;
  bytes(start: number, n: number): Uint8Array;
  doubles(start: number, n: number): Float64Array;
  /** Frees everything that was allocated. */
  clear(): void;
}

export const MODEL_BUILDS: readonly string[] = ["debug", "baseline", "relaxed"];

export async function openKernels(build: string): Promise<KernelMemory> {
  const bytes = await readFile(new URL(`../../build/model-${build}.wasm`, import.meta.url));
  const { kernels, memory } = instantiate(compileModule(bytes as Buffer<ArrayBuffer>));
  return new Allocator(kernels as ModelKernels, memory);
}

/** The kernels of a build: opened when they are first asked for, with an empty memory each time. */
export function emptyKernels(build: string): () => Promise<KernelMemory> {
  const opened = once(() => openKernels(build));
  return async () => {
    const memory = await opened();
    memory.clear();
    return memory;
  };
}

class Allocator implements KernelMemory {
  readonly kernels: ModelKernels;
  readonly #memory: LinearMemory;
  #end = 0;

  constructor(kernels: ModelKernels, memory: LinearMemory) {
    this.kernels = kernels;
    this.#memory = memory;
    this.clear();
  }

  clear(): void {
    this.#end = Math.ceil(this.kernels.heapBase() / 64) * 64;
  }

  allocate(bytes: number): number {
    const start = this.#end;
    // A gap, so that a read or write past the end reaches no other array.
    this.#end = Math.ceil((start + bytes + 64) / 64) * 64;
    const missing = this.#end - this.#memory.buffer.byteLength;
    if (missing > 0) this.#memory.grow(Math.ceil(missing / 65536));
    return start;
  }

  put(values: Float32Array | Uint16Array | Uint8Array | Int32Array): number {
    const start = this.allocate(values.byteLength);
    new Uint8Array(this.#memory.buffer, start, values.byteLength).set(
      new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
    );
    return start;
  }

  putMatrix(matrix: MatrixRecord): number {
    return this.putRecord(MATRIX, matrix);
  }

  putRecord<T extends RecordOf<T>>(layout: RecordLayout<T>, record: T): number {
    const at = this.allocate(layout.bytes);
    layout.write(this.#memory.buffer, at, record);
    return at;
  }

  floats(start: number, n: number): Float32Array {
    return new Float32Array(this.#memory.buffer, start, n).slice();
  }

  ints(start: number, n: number): Int32Array {
    return new Int32Array(this.#memory.buffer, start, n).slice();
  }

  bytes(start: number, n: number): Uint8Array {
    return new Uint8Array(this.#memory.buffer, start, n).slice();
  }

  doubles(start: number, n: number): Float64Array {
    return new Float64Array(this.#memory.buffer, start, n).slice();
  }
}
