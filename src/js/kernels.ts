import type { FormatId, ValueTypeId } from "../tensor/formats.ts";
import type { Kernels } from "../wasm/kernels.ts";
import { readMatrix } from "../wasm/matrix.ts";
import { compare } from "./compare.ts";
import { dequantize, lookUp32, ScaledTable } from "./dequantize.ts";
import { encodeSpan, fp8Of } from "./fp8.ts";
import { dotFloat64, gemm } from "./gemm.ts";
import { widenSpan } from "./half.ts";
import { gemmIntegers, int7Bytes, packInt7, quantizeInt8 } from "./integers.ts";
import { ArrayMemory } from "./memory.ts";
import { quantize } from "./quantize.ts";

/** Kernels in plain JavaScript and the memory they work on: what a WebAssembly instance would be. */
export interface JsInstance {
  readonly kernels: Kernels;
  readonly memory: ArrayMemory;
}

/**
 * The kernels without WebAssembly: same pointers, same bits, about a tenth of the speed.
 * @param pages of 64 KiB to start with
 */
export function instantiate(pages: number = 2): JsInstance {
  const memory = new ArrayMemory(pages);
  const tables = new Map<number, ScaledTable>();
  const tableOf = (format: FormatId, type: ValueTypeId): ScaledTable => {
    const key = 8 * format + type;
    const known = tables.get(key) ?? new ScaledTable(format, type);
    tables.set(key, known);
    return known;
  };
  const kernels: Kernels = {
    heapBase: () => 0,
    encode: (format, dst, src, n) =>
      encodeSpan(memory.u8, dst, memory.i32, src >>> 2, n, fp8Of(format).codes, 0),
    decode: (format, dst, src, n) =>
      lookUp32(memory.i32, dst >>> 2, memory.u8, src, n, fp8Of(format).bits, 0),
    widen: (type, dst, src, n) =>
      widenSpan(type, memory.i32.subarray(dst >>> 2, (dst >>> 2) + n), memory.u16, src >>> 1, n),
    quantize: (...args) => quantize(memory, ...args),
    dequantize: (matrixAt, type, dst) => {
      const matrix = readMatrix(memory.buffer, matrixAt);
      dequantize(memory, tableOf(matrix.format as FormatId, type), matrix, dst);
    },
    compare: (...args) => compare(memory, ...args),
    // float64 holds every sum of products, so that no row is a special case.
    analyse: () => 0,
    listSubnormals: () => {},
    gemmWorkspace: (_rows, k) => 8 * k,
    gemm: (...args) => gemm(memory, ...args),
    dotFloat64: (...args) => dotFloat64(memory, ...args),
    hasTrueDots: () => 1,
    quantizeInt8: (...args) => quantizeInt8(memory, ...args),
    int7Bytes,
    packInt7: (...args) => packInt7(memory, ...args),
    integerWorkspace: () => 0,
    gemmIntegers: (...args) => gemmIntegers(memory, ...args),
  };
  return { kernels, memory };
}
