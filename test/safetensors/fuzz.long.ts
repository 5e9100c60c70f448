import { expect, test } from "vitest";
import { byteLength } from "../../src/safetensors/dtype.ts";
import { type Header, MAX_HEADER, parseHeader } from "../../src/safetensors/header.ts";
import { readHeader } from "../../src/safetensors/read.ts";
import { BlockscaleError } from "../../src/tensor/errors.ts";
import { randomWords } from "../support/random.ts";
import { f32, fileOf } from "../support/safetensors-file.ts";

const ROUNDS = 120_000;

/** Valid files to start from: each has something that a mutation can turn into trouble. */
const seeds = [
  fileOf(`{${f32("a", "[2,2]", 0, 16)},${f32("b", "[1]", 16, 20)}}   `, 20),
  fileOf(`{"__metadata__":{"format":"pt","k":"\\u00e9\\n"},${f32("é😀", "[]", 0, 4)}}`, 4),
  fileOf(
    `{"q":{"dtype":"F8_E4M3","shape":[3,5],"data_offsets":[0,15]},"s":{"dtype":"F8_E8M0","shape":[1],"data_offsets":[15,16]}}`,
    16,
  ),
  fileOf(
    `{"z":{"dtype":"I64","shape":[0,9007199254740991],"data_offsets":[0,0],"x":[{},[[]],-1.5e-3,null]}}`,
  ),
];

/** Bytes that mean something in a header. */
const tokens = [
  ...'{}[]",:0123456789-+.eEntfu\\ \t\n',
  "9007199254740993",
  "18446744073709551616",
  "1e309",
  "null",
  "__proto__",
  "__metadata__",
  "dtype",
  "shape",
  '"F4"',
  "\u0000",
  "é",
  "[".repeat(200),
].map((token) => new TextEncoder().encode(token));

/** Changes some bytes of a file: flips, cuts, doubles, or inserts a token; now and then in the length too. */
function mutate(file: Uint8Array, random: () => number): Uint8Array {
  let bytes = file;
  for (let n = 1 + (random() % 4); n > 0; n--) {
    const first = random() % 16 === 0 ? 0 : 8;
    const at = first + (random() % Math.max(1, bytes.length - first));
    const to = Math.min(bytes.length, at + (random() % 12));
    switch (random() % 5) {
      case 0:
        bytes = bytes.slice();
        if (at < bytes.length) bytes[at] = bytes[at]! ^ (1 << (random() % 8));
        break;
      case 1:
        bytes = join(bytes.subarray(0, at), bytes.subarray(to));
        break;
      case 2:
        bytes = join(bytes.subarray(0, to), bytes.subarray(at));
        break;
      default:
        bytes = join(bytes.subarray(0, at), tokens[random() % tokens.length]!, bytes.subarray(at));
    }
  }
  // Mostly the length still fits the header, so that the mutation reaches the parser.
  if (random() % 8 !== 0 && bytes.length >= 8) {
    const data = random() % 32;
    bytes = bytes.slice();
    new DataView(bytes.buffer).setBigUint64(0, BigInt(Math.max(0, bytes.length - 8 - data)), true);
  }
  return bytes;
}

function join(...parts: Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((n, { length }) => n + length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Everything that a header promises to whoever goes on to read the data. */
function isSound({ tensors, dataStart }: Header, fileSize: number): boolean {
  let cursor = 0;
  for (const { dtype, shape, begin, end } of tensors) {
    if (begin !== cursor || byteLength(dtype, shape) !== end - begin) return false;
    cursor = end;
  }
  return dataStart + cursor === fileSize;
}

test(`${ROUNDS} mutated files are understood or refused, and nothing is read outside of them`, async () => {
  let [understood, refused] = [0, 0];
  const words = randomWords(7, ROUNDS * 32);
  let next = 0;
  const random = () => words[next++ % words.length]!;
  for (let round = 0; round < ROUNDS; round++) {
    const file = mutate(seeds[round % seeds.length]!, random);
    const source = {
      size: file.length,
      slice(start: number, end: number) {
        if (start < 0 || end > file.length || start > end) throw new Error(`read ${start} to ${end}`);
        return { arrayBuffer: async () => file.slice(start, end).buffer };
      },
    };
    try {
      const header = await readHeader("fuzz", source);
      if (!isSound(header, file.length)) throw new Error(`unsound: ${new TextDecoder().decode(file)}`);
      JSON.parse(new TextDecoder().decode(file.subarray(8, header.dataStart)));
      understood++;
    } catch (error) {
      if (!(error instanceof BlockscaleError) || error.code !== "format") throw error;
      refused++;
    }
  }
  expect(understood + refused).toBe(ROUNDS);
  // Both ways must have been taken often enough to mean something.
  expect(understood).toBeGreaterThan(ROUNDS / 1000);
  expect(refused).toBeGreaterThan(ROUNDS / 2);
});

test("time grows with the length of the header, and with nothing else", () => {
  const time = (text: string) => {
    const bytes = new TextEncoder().encode(text);
    const started = performance.now();
    try {
      parseHeader("x", bytes, 8 + bytes.length);
    } catch (error) {
      if (!(error instanceof BlockscaleError)) throw error;
    }
    return (performance.now() - started) / bytes.length;
  };
  const size = 4_000_000;
  const filler = (token: string) => token.repeat(size / token.length);
  const headers = {
    tensors: `{${Array.from({ length: size / 50 }, (_, i) => f32(`t${i}`, "[0]", 0, 0)).join(",")}}`,
    "one name": `{"${filler("x")}":{}}`,
    escapes: `{"a":{"x":"${filler("\\\\")}"}}`,
    "a string that does not end": `{"${filler("\\u0041")}`,
    brackets: `{"a":{"x":[${filler("[],")}[]]}}`,
    digits: `{"a":{"x":${filler("1")}}}`,
    spaces: `${filler(" ")}{}`,
    shape: `{"a":{"shape":[${filler("1,")}1]}}`,
    "large sizes": `{"a":{"dtype":"U8","data_offsets":[0,0],"shape":[${filler("99999999,")}1]}}`,
  };
  time(headers.tensors);
  for (const [what, text] of Object.entries(headers)) {
    // Two microseconds per byte are a hundred times what it takes; anything quadratic would take minutes.
    expect(time(text), what).toBeLessThan(0.002);
  }
});

test("a length beyond the limit is refused before it is allocated", async () => {
  const source = {
    size: 2 ** 50,
    slice(start: number, end: number) {
      expect(end - start).toBeLessThanOrEqual(65536);
      const bytes = new Uint8Array(end - start);
      bytes.set(fileOf("", 0, BigInt(MAX_HEADER) + 1n));
      return { arrayBuffer: async () => bytes.buffer };
    },
  };
  await expect(readHeader("x", source)).rejects.toThrow(/at most 100000000/);
});
