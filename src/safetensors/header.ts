import { BlockscaleError } from "../tensor/errors.ts";
import { quotedTensor, shapeNamed } from "./display.ts";
import { byteLength, type Dtype, isDtype } from "./dtype.ts";
import { JsonError, JsonReader } from "./json.ts";

/** The longest header the reference reader and writer accept, in bytes. */
export const MAX_HEADER: number = 100_000_000;

/** One tensor as a header describes it. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** First byte, counted from the start of the data section. */
  readonly begin: number;
  /** One past the last byte. */
  readonly end: number;
}

/** A validated header: its tensors tile the data section without hole or overlap. */
export interface Header {
  /** Tensors, in the order of their data. */
  readonly tensors: readonly TensorInfo[];
  /** The `__metadata__` entry; `null` where there is none. */
  readonly metadata: ReadonlyMap<string, string> | null;
  /** Offset of the data section in the file: 8 + length of the header. */
  readonly dataStart: number;
}

/** A tensor before it has a place: what `serializeHeader` needs to give it one. */
export type TensorSpec = Pick<TensorInfo, "name" | "dtype" | "shape">;

function refuse(where: string, expected: string, got: string, fix?: string): never {
  throw new BlockscaleError("format", {
    where,
    expected,
    got,
    fix: fix ?? "The file is damaged or no safetensors file: fetch it again.",
  });
}

/**
 * Length of the header from the first 8 bytes of a file.
 * @throws BlockscaleError `format`: longer than the format allows, or than the file.
 */
export function headerLength(where: string, prefix: Uint8Array, fileSize: number): number {
  if (prefix.length < 8) refuse(where, "at least 8 bytes", `${fileSize} bytes`);
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER)) {
    refuse(where, `a header of at most ${MAX_HEADER} bytes`, `a length of ${length} bytes`);
  }
  if (8 + Number(length) > fileSize) {
    refuse(where, `a header of ${length} bytes`, `a file of ${fileSize} bytes`);
  }
  return Number(length);
}

/**
 * Parses and validates a header; accepts and rejects what the reference reader (safetensors 0.8) does, but
 * for sizes beyond 2^53 - 1, which are rejected even where another size is 0.
 * @param where names the file in errors
 * @param bytes the header without its 8-byte length
 * @param fileSize size of the whole file
 * @throws BlockscaleError `format`
 */
export function parseHeader(where: string, bytes: Uint8Array, fileSize: number): Header {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new BlockscaleError(
      "format",
      {
        where: `${where}: header`,
        expected: "UTF-8 text",
        got: "other bytes",
        fix: "The file is damaged or no safetensors file: fetch it again.",
      },
      { cause },
    );
  }
  const dataStart = 8 + bytes.length;
  const { tensors, metadata } = readJson(`${where}: header`, text);
  return { tensors: arrange(where, tensors, fileSize - dataStart), metadata, dataStart };
}

function readJson(where: string, text: string): Pick<Header, "tensors" | "metadata"> {
  const json = new JsonReader(text);
  // A repeated name counts once, with its last entry, as in the reference; the holes left are found later.
  const tensors = new Map<string, TensorInfo>();
  const shapes: Shapes = new Map();
  let metadata: ReadonlyMap<string, string> | null | undefined;
  try {
    json.space();
    json.object((key) => {
      if (key !== "__metadata__") {
        tensors.set(key, readTensor(json, key, shapes));
      } else if (metadata === undefined) {
        metadata = readMetadata(json);
      } else {
        json.fail("__metadata__ appears twice");
      }
    });
    json.end();
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause;
    refuse(where, "a JSON object of tensors", `${cause.message} at character ${cause.at}`);
  }
  return { tensors: [...tensors.values()], metadata: metadata ?? null };
}

function readMetadata(json: JsonReader): ReadonlyMap<string, string> | null {
  if (json.null()) return null;
  const metadata = new Map<string, string>();
  json.object((key) => metadata.set(key, json.string()));
  return metadata;
}

/**
 * Arrays of sizes, one for all tensors of the same shape: large models have a
 * hundred thousand tensors of a few shapes.
 */
type Shapes = Map<string, readonly number[]>;

function readTensor(json: JsonReader, name: string, shapes: Shapes): TensorInfo {
  let dtype: Dtype | undefined;
  let shape: readonly number[] | undefined;
  let offsets: readonly number[] | undefined;
  const refuseRepeated = (seen: unknown, field: string) => {
    if (seen !== undefined) json.fail(`${field} appears twice in ${quotedTensor(name)}`);
  };
  json.object((field) => {
    switch (field) {
      case "dtype": {
        refuseRepeated(dtype, field);
        const word = json.string();
        if (!isDtype(word)) json.fail(`unknown dtype ${JSON.stringify(word.slice(0, 40))}`);
        dtype = word;
        break;
      }
      case "shape":
        refuseRepeated(shape, field);
        shape = readCounts(json);
        shape = shapes.get(String(shape)) ?? shape;
        shapes.set(String(shape), shape);
        break;
      case "data_offsets":
        refuseRepeated(offsets, field);
        offsets = readCounts(json);
        if (offsets.length !== 2) json.fail("data_offsets without exactly two numbers");
        break;
      default:
        json.skip();
    }
  });
  if (dtype === undefined || shape === undefined || offsets === undefined) {
    return json.fail(`${quotedTensor(name)} lacks dtype, shape or data_offsets`);
  }
  return { name, dtype, shape, begin: offsets[0]!, end: offsets[1]! };
}

function readCounts(json: JsonReader): number[] {
  const counts: number[] = [];
  json.array(() => counts.push(json.count()));
  // An array that grew by `push` keeps memory for 17 numbers: too much for a hundred thousand tensors.
  return counts.slice();
}

/** Sorts by place, and checks that the tensors fill the data section exactly. */
function arrange(where: string, tensors: readonly TensorInfo[], dataSize: number): readonly TensorInfo[] {
  const sorted = [...tensors].sort((a, b) => a.begin - b.begin || a.end - b.end);
  let cursor = 0;
  for (const { name, dtype, shape, begin, end } of sorted) {
    const tensor = () => `${where}: ${quotedTensor(name)}`;
    if (begin !== cursor || end < begin) {
      refuse(
        tensor(),
        `data that starts at ${cursor}, right after its neighbour`,
        `data_offsets [${begin}, ${end}]`,
      );
    }
    const bytes = byteLength(dtype, shape);
    if (bytes !== end - begin) {
      const size = bytes === null ? "no whole number of bytes below 2^64" : `${bytes} bytes`;
      refuse(tensor(), `${end - begin} bytes, as data_offsets say`, `${dtype} ${shapeNamed(shape)}, ${size}`);
    }
    cursor = end;
  }
  if (cursor !== dataSize) {
    refuse(
      where,
      `${cursor} bytes of data, as the header says`,
      `${dataSize} bytes`,
      dataSize < cursor
        ? "The file is cut off: fetch it again."
        : "The file is damaged or no safetensors file: fetch it again.",
    );
  }
  return sorted;
}

/**
 * Lays tensors out in the order given and writes the first bytes of the file: length, JSON, spaces up to a
 * multiple of 8 so that the data starts aligned. The data follows in the same order.
 * @throws BlockscaleError `format`: a repeated name, or a header that no reader accepts.
 */
export function serializeHeader(
  where: string,
  tensors: readonly TensorSpec[],
  metadata: ReadonlyMap<string, string> | null,
): { bytes: Uint8Array; header: Header } {
  const entries: string[] = [];
  // Object keys that look like numbers would be moved to the front: the JSON is put together by hand.
  if (metadata !== null) {
    const pairs = [...metadata].map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
    entries.push(`"__metadata__":{${pairs.join(",")}}`);
  }
  const placed: TensorInfo[] = [];
  const names = new Set<string>(["__metadata__"]);
  let cursor = 0;
  for (const { name, dtype, shape } of tensors) {
    if (names.has(name)) {
      refuse(
        where,
        "one tensor of each name",
        `a second ${quotedTensor(name)}`,
        "Rename or exclude one of them.",
      );
    }
    names.add(name);
    const bytes = byteLength(dtype, shape);
    if (bytes === null || !Number.isSafeInteger(cursor + bytes)) {
      refuse(
        where,
        "a size in whole bytes",
        `${quotedTensor(name)}: ${dtype} ${shapeNamed(shape)}`,
        "Correct the shape.",
      );
    }
    placed.push({ name, dtype, shape, begin: cursor, end: cursor + bytes });
    entries.push(
      `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape.join(",")}],"data_offsets":[${cursor},${cursor + bytes}]}`,
    );
    cursor += bytes;
  }
  const json = new TextEncoder().encode(`{${entries.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER) {
    refuse(
      where,
      `a header of at most ${MAX_HEADER} bytes`,
      `${length} bytes`,
      "Split the tensors over more files.",
    );
  }
  const bytes = new Uint8Array(8 + length).fill(0x20, 8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return { bytes, header: { tensors: placed, metadata, dataStart: bytes.length } };
}
