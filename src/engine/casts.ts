import { ResidentMatrix } from "../products/resident.ts";
import {
  type CheckedTensor,
  checkArray,
  checkDisjoint,
  checkValues,
  codeBytes,
  newArray,
  outArray,
  type RawValues,
} from "../tensor/checks.ts";
import { FORMAT_ID, FORMATS, ROUNDING_ID, VALUE_TYPE_ID } from "../tensor/formats.ts";
import { outOption } from "../tensor/options.ts";
import { type Scheme, type SchemeName, schemeOf } from "../tensor/schemes.ts";
import { bytesOfCodes, codesOfBits, isSubByte, packCodes } from "../tensor/sub-byte.ts";
import {
  type BlockScaled,
  checkFormat,
  type Format,
  type Grid,
  gridOf,
  type Values,
  type ValueType,
} from "../tensor/tensor.ts";
import type { Arena } from "../wasm/arena.ts";
import type { Kernels } from "../wasm/kernels.ts";
import {
  chunkBytes,
  chunksOf,
  putChunk,
  type Rectangle,
  ROW_CHUNK,
  scaleRectangle,
  scaleView,
  scatter,
  stage,
  viewOf,
  writeChunkMatrix,
} from "./chunks.ts";
import { quantizeNvfp4 } from "./nvfp4.ts";

/**
 * What {@link Engine.quantize} can write into, instead of allocating; a block-scaled tensor fits as it is.
 */
export interface QuantizeOut {
  readonly codes: Uint8Array;
  readonly scales: Uint8Array | Float32Array;
}

/** The casts of an engine, through its linear memory in chunks: see the methods of Engine by these names. */
export class Casts {
  readonly #kernels: Kernels;
  readonly #arena: Arena;

  constructor(kernels: Kernels, arena: Arena) {
    this.#kernels = kernels;
    this.#arena = arena;
  }

  encode(values: Float32Array, format: Format, options: { out?: Uint8Array }): Uint8Array {
    const id = FORMAT_ID[checkFormat("encode: format", format)];
    const n = checkArray("encode: values", values, "Float32Array").length;
    const out = outArray("encode: out", outOption("encode", options), "Uint8Array", bytesOfCodes(format, n));
    checkDisjoint("encode: out", out, values);
    const most = Math.min(n, ROW_CHUNK);
    return this.#arena.frame([4 * most, most], (src, dst) => {
      const buffer = this.#arena.buffer;
      for (let i = 0; i < n; i += ROW_CHUNK) {
        const length = Math.min(ROW_CHUNK, n - i);
        new Float32Array(buffer, src, length).set(values.subarray(i, i + length));
        this.#kernels.encode(id, dst, src, length);
        const codes = new Uint8Array(buffer, dst, length);
        const [start, end] = [bytesOfCodes(format, i), bytesOfCodes(format, i + length)];
        if (isSubByte(format)) packCodes(format, codes, out.subarray(start, end));
        else out.set(codes, i);
      }
      return out;
    });
  }

  decode(codes: Uint8Array, format: Format, options: { out?: Float32Array }): Float32Array {
    const { codeBits } = FORMATS[checkFormat("decode: format", format)];
    const n = Math.floor((8 * checkArray("decode: codes", codes, "Uint8Array").length) / codeBits);
    const out = outArray("decode: out", outOption("decode", options), "Float32Array", n);
    checkDisjoint("decode: out", out, codes);
    const bytes = isSubByte(format) ? codesOfBits(format, codes) : codes;
    const id = isSubByte(format) ? FORMAT_ID.e4m3 : FORMAT_ID[format];
    const most = Math.min(n, ROW_CHUNK);
    return this.#arena.frame([most, 4 * most], (src, dst) => {
      const buffer = this.#arena.buffer;
      for (let i = 0; i < n; i += ROW_CHUNK) {
        const length = Math.min(ROW_CHUNK, n - i);
        new Uint8Array(buffer, src, length).set(bytes.subarray(i, i + length));
        this.#kernels.decode(id, dst, src, length);
        out.set(new Float32Array(buffer, dst, length), i);
      }
      return out;
    });
  }

  quantize(
    values: Values,
    shape: readonly number[],
    given: Scheme | SchemeName,
    options: { out?: QuantizeOut },
  ): BlockScaled {
    const scheme = schemeOf("quantize: scheme", given);
    const { format, block } = scheme;
    const grid = gridOf("quantize", shape, block);
    const raw = checkValues("quantize: values", values, grid.elements);
    const { codes, scales } = quantizeOut(outOption("quantize", options), scheme, grid);
    checkDisjoint("quantize: out.codes", codes, raw.data);
    checkDisjoint("quantize: out.scales", scales, raw.data);
    checkDisjoint("quantize: out.scales", scales, codes);
    const made = { format, shape: [...shape], block: [block[0], block[1]], codes, scales } as const;
    if (scheme.scale === "e4m3")
      return { ...made, tensorScale: quantizeNvfp4(this, raw, grid, codes, scales as Uint8Array) };
    this.#quantize(raw, scheme, { ...made, scaleType: scheme.scale, grid });
    return made;
  }

  /** Writes codes and scales of a tensor, chunk by chunk. */
  #quantize({ type, data }: RawValues, scheme: Scheme, tensor: CheckedTensor): void {
    const { format, codes, scales, grid } = tensor;
    const { rounding, amaxFloor, zeroScale } = scheme;
    const floorBits = new Uint32Array(Float32Array.of(amaxFloor).buffer)[0] as number;
    // Halves are widened where the kernel takes float32 alone.
    const isWidened = isSubByte(format) && type !== "f32";
    const valueType = VALUE_TYPE_ID[isWidened ? "f32" : type];
    const width = isWidened ? 4 : data.BYTES_PER_ELEMENT;
    for (const chunk of chunksOf(grid)) {
      const elements = chunk.rows * chunk.cols;
      const blocks = chunk.scaleRows * chunk.scaleCols;
      const halves = isWidened ? elements * data.BYTES_PER_ELEMENT : 0;
      const sizes = [elements * width, halves, ...chunkBytes(chunk, tensor)] as const;
      this.#arena.frame(sizes, (src, half, ...addresses) => {
        const [matrix, codesAt, scalesAt] = addresses;
        const buffer = this.#arena.buffer;
        stage(buffer, isWidened ? half : src, data, chunk);
        if (isWidened) this.#kernels.widen(VALUE_TYPE_ID[type], src, half, elements);
        writeChunkMatrix(buffer, addresses, chunk, tensor);
        this.#kernels.quantize(matrix, valueType, src, ROUNDING_ID[rounding], floorBits, zeroScale);
        const made = new Uint8Array(buffer, codesAt, elements);
        if (isSubByte(format)) {
          const bits = packCodes(format, made, new Uint8Array(bytesOfCodes(format, elements)));
          scatter(codes, bits, bytesOfChunk(format, chunk));
        } else scatter(codes, made, chunk);
        scatter(scales, scaleView(scales, buffer, scalesAt, blocks), scaleRectangle(chunk));
      });
    }
  }

  /** Writes the values of a tensor into `out`, all of which was checked. Its codes are FP8. */
  dequantize<Out extends Float32Array | Uint16Array | ResidentMatrix>(
    tensor: CheckedTensor,
    type: ValueType,
    out: Out,
  ): Out {
    const width = type === "f32" ? 4 : 2;
    for (const chunk of chunksOf(tensor.grid)) {
      const elements = chunk.rows * chunk.cols;
      const isInPlace = out instanceof ResidentMatrix && (chunk.rows === 1 || chunk.stride === chunk.cols);
      const sizes = [isInPlace ? 0 : elements * width, ...chunkBytes(chunk, tensor)] as const;
      this.#arena.frame(sizes, (own, ...addresses) => {
        const dst = isInPlace ? out.address("dequantize: out") + 4 * chunk.start : own;
        const buffer = this.#arena.buffer;
        putChunk(buffer, addresses, chunk, tensor);
        this.#kernels.dequantize(addresses[0], VALUE_TYPE_ID[type], dst);
        if (isInPlace) return;
        const staged = viewOf(buffer, dst, elements, width);
        scatter(out instanceof ResidentMatrix ? out.view("dequantize: out") : out, staged, chunk);
      });
    }
    return out;
  }
}

/** The caller's arrays for the result of quantize, or new ones. */
function quantizeOut(out: QuantizeOut | undefined, { format, scale }: Scheme, grid: Grid): QuantizeOut {
  const bytes = codeBytes("quantize", format, grid);
  const scaleArray = scale === "f32" ? "Float32Array" : "Uint8Array";
  if (out === undefined) {
    return {
      codes: newArray("quantize", "Uint8Array", bytes),
      scales: newArray("quantize", scaleArray, grid.blocks),
    };
  }
  return {
    codes: checkArray("quantize: out.codes", out.codes, "Uint8Array", bytes),
    scales: checkArray("quantize: out.scales", out.scales, scaleArray, grid.blocks),
  };
}

/** The rectangle of a chunk in the bytes of packed codes: rows and blocks begin with a byte. */
function bytesOfChunk(format: Format, { start, rows, cols, stride }: Rectangle): Rectangle {
  const bytes = (count: number) => bytesOfCodes(format, count);
  return { start: bytes(start), rows, cols: bytes(cols), stride: bytes(stride) };
}
