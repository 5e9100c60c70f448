import { parseSafetensorsMetadata } from "@huggingface/hub";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { byteLength, DTYPE_BITS, type Dtype } from "../../src/safetensors/dtype.ts";
import { editMember } from "../../src/safetensors/edit-json.ts";
import { type Header, MAX_HEADER, serializeHeader, type TensorSpec } from "../../src/safetensors/header.ts";
import { readHeader } from "../../src/safetensors/read.ts";
import { parseIndex } from "../../src/safetensors/shards.ts";
import { BlockscaleError } from "../../src/tensor/errors.ts";
import { f32, fileOf } from "../support/safetensors-file.ts";

const read = (bytes: Uint8Array): Promise<Header> =>
  readHeader("x.safetensors", new Blob([bytes as BlobPart]));

/** What safetensors 0.8.0 accepts, measured. */
const accepted: readonly (readonly [what: string, file: Uint8Array, tensors: number])[] = [
  ["one tensor", fileOf(`{${f32("a", "[2,2]", 0, 16)}}`, 16), 1],
  ["no tensors", fileOf("{}"), 0],
  ["a header of a length that is no multiple of 8", fileOf(`{${f32("abc", "[1]", 0, 4)}}  `, 4), 1],
  [
    "keys in another order than the data",
    fileOf(`{${f32("b", "[1]", 4, 8)},${f32("a", "[1]", 0, 4)}}`, 8),
    2,
  ],
  [
    "tensors of size 0",
    fileOf(`{${f32("a", "[0]", 0, 0)},${f32("b", "[1]", 0, 4)},${f32("c", "[2,0]", 4, 4)}}`, 4),
    3,
  ],
  ["a scalar", fileOf(`{${f32("a", "[]", 0, 4)}}`, 4), 1],
  [
    "unknown fields",
    fileOf(`{"a":{"dtype":"F32","x":{"y":[1,null,true,-2.5e3]},"shape":[1],"data_offsets":[0,4]}}`, 4),
    1,
  ],
  ["leading and trailing white space", fileOf(` \n\t\r{${f32("a", "[1]", 0, 4)}} \n`, 4), 1],
  [
    "white space inside",
    fileOf(`{ "a" : { "dtype" : "F32" , "shape" : [ 1 ] , "data_offsets" : [ 0 , 4 ] } }`, 4),
    1,
  ],
  [
    "a float at an odd place",
    fileOf(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},${f32("b", "[1]", 1, 5)}}`, 5),
    2,
  ],
  ["an empty name", fileOf(`{${f32("", "[1]", 0, 4)}}`, 4), 1],
  ["__metadata__ of null", fileOf(`{"__metadata__":null,${f32("a", "[1]", 0, 4)}}`, 4), 1],
  ["a repeated key with the same range", fileOf(`{${f32("a", "[1]", 0, 4)},${f32("a", "[1]", 0, 4)}}`, 4), 1],
  ["__proto__ as a name", fileOf(`{${f32("__proto__", "[1]", 0, 4)}}`, 4), 1],
  ["half bytes in pairs", fileOf(`{"a":{"dtype":"F4","shape":[3,2],"data_offsets":[0,3]}}`, 3), 1],
  [
    "nesting up to 127",
    fileOf(
      `{"a":{"x":${"[".repeat(125)}${"]".repeat(125)},"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`,
      1,
    ),
    1,
  ],
];

/** What safetensors 0.8.0 rejects, measured, with a word of our message. */
const rejected: readonly (readonly [what: string, file: Uint8Array, message: RegExp])[] = [
  ["overlap", fileOf(`{${f32("a", "[2]", 0, 8)},${f32("b", "[1]", 4, 8)}}`, 8), /starts at 8/],
  ["a hole", fileOf(`{${f32("a", "[1]", 0, 4)},${f32("b", "[1]", 8, 12)}}`, 12), /starts at 4/],
  ["not starting at 0", fileOf(`{${f32("a", "[1]", 4, 8)}}`, 8), /starts at 0/],
  [
    "an end before the begin",
    fileOf(`{${f32("a", "[1]", 0, 4)},${f32("b", "[1]", 4, 0)}}`, 4),
    /starts at 4/,
  ],
  ["two names on one range", fileOf(`{${f32("a", "[1]", 0, 4)},${f32("b", "[1]", 0, 4)}}`, 4), /starts at 4/],
  [
    "a repeated key with another range",
    fileOf(`{${f32("a", "[1]", 0, 4)},${f32("a", "[1]", 4, 8)}}`, 8),
    /starts at 0/,
  ],
  ["trailing bytes", fileOf(`{${f32("a", "[1]", 0, 4)}}`, 5), /got 5 bytes/],
  ["missing bytes", fileOf(`{${f32("a", "[1]", 0, 4)}}`, 3), /cut off/],
  ["a size that does not match", fileOf(`{${f32("a", "[2]", 0, 4)}}`, 4), /8 bytes/],
  ["an overflowing shape", fileOf(`{${f32("a", "[9007199254740991,9007199254740991]", 0, 4)}}`, 4), /2\^64/],
  [
    "an overflowing shape that ends in 0",
    fileOf(`{${f32("a", "[4294967296,4294967296,0]", 0, 0)}}`),
    /2\^64/,
  ],
  ["overflowing bits", fileOf(`{${f32("a", "[4294967296,4294967295]", 0, 4)}}`, 4), /2\^64/],
  [
    "bits that fill no byte",
    fileOf(`{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}`, 2),
    /whole number of bytes/,
  ],
  ["a header longer than allowed", fileOf("{}", 0, BigInt(MAX_HEADER) + 1n), /at most 100000000/],
  ["a header of 2^63 bytes", fileOf("{}", 0, 2n ** 63n), /at most 100000000/],
  ["a header of 2^64 - 1 bytes", fileOf("{}", 0, 2n ** 64n - 1n), /at most 100000000/],
  ["a header longer than the file", fileOf("{}", 0, 3n), /a file of 10 bytes/],
  ["a file of 7 bytes", new Uint8Array(7), /at least 8 bytes/],
  ["an empty file", new Uint8Array(0), /at least 8 bytes/],
  ["an empty header", fileOf(""), /expected an object/],
  ["bad UTF-8", fileOf(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d)), /UTF-8/],
  ["a byte order mark", fileOf("\ufeff{}"), /expected an object/],
  ["trailing NUL", fileOf("{}\0"), /more text/],
  ["trailing garbage", fileOf("{}x"), /more text/],
  ["an array at the root", fileOf("[]"), /expected an object/],
  ["JSON that stops", fileOf(`{"a":{"dtype":"F32"`), /expected ',' or '}'/],
  [
    "an unknown dtype",
    fileOf(`{"a":{"dtype":"F8_E4M3FN","shape":[1],"data_offsets":[0,1]}}`, 1),
    /unknown dtype/,
  ],
  [
    "a dtype in small letters",
    fileOf(`{"a":{"dtype":"f32","shape":[1],"data_offsets":[0,4]}}`, 4),
    /unknown dtype/,
  ],
  [
    "a dtype of the prototype",
    fileOf(`{"a":{"dtype":"constructor","shape":[1],"data_offsets":[0,4]}}`, 4),
    /unknown dtype/,
  ],
  ["a negative size", fileOf(`{${f32("a", "[-1]", 0, 4)}}`, 4), /whole number/],
  ["minus zero", fileOf(`{${f32("a", "[-0]", 0, 0)}}`), /whole number/],
  ["a size with a point", fileOf(`{${f32("a", "[1.0]", 0, 4)}}`, 4), /whole number/],
  ["a size with an exponent", fileOf(`{${f32("a", "[1e0]", 0, 4)}}`, 4), /whole number/],
  ["a size with a leading zero", fileOf(`{${f32("a", "[01]", 0, 4)}}`, 4), /expected ',' or ']'/],
  ["a size beyond 2^53", fileOf(`{${f32("a", "[9007199254740993]", 0, 4)}}`, 4), /whole number/],
  ["an offset beyond 2^64", fileOf(`{${f32("a", "[1]", 0, "36893488147419103232")}}`, 4), /whole number/],
  ["a size as text", fileOf(`{${f32("a", '["1"]', 0, 4)}}`, 4), /expected a value/],
  ["three offsets", fileOf(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}}`, 4), /two numbers/],
  ["one offset", fileOf(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}`, 4), /two numbers/],
  ["a missing field", fileOf(`{"a":{"dtype":"F32","shape":[1]}}`, 4), /lacks/],
  [
    "a field that appears twice",
    fileOf(`{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
    /twice/,
  ],
  ["metadata that is no text", fileOf(`{"__metadata__":{"a":1}}`), /expected a string/],
  ["metadata that is no object", fileOf(`{"__metadata__":"a"}`), /expected an object/],
  ["__metadata__ twice", fileOf(`{"__metadata__":{},"__metadata__":{}}`), /twice/],
  ["a tensor of null", fileOf(`{"a":null}`), /expected an object/],
  ["a comma at the end", fileOf(`{${f32("a", "[1,]", 0, 4)}}`, 4), /expected a value/],
  ["a control character in a name", fileOf('{"a\n":{}}'), /control character/],
  ["a wrong escape", fileOf(`{"\\x41":{}}`), /wrong escape/],
  [
    "half a surrogate pair",
    fileOf(`{"\\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`),
    /surrogate/,
  ],
  [
    "a number out of range",
    fileOf(`{"a":{"x":1e999,"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`),
    /out of range/,
  ],
  [
    "nesting beyond 127",
    fileOf(`{"a":{"x":${"[".repeat(126)}${"]".repeat(126)},"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`),
    /deeper/,
  ],
  ["nesting of a million", fileOf(`{"a":{"x":${"[".repeat(1_000_000)}`), /deeper/],
];

describe("what the reference reader accepts", () => {
  test.each(accepted)("%s", async (_, file, tensors) => {
    expect((await read(file)).tensors.length).toBe(tensors);
  });
});

describe("what the reference reader rejects", () => {
  test.each(rejected)("%s", async (_, file, message) => {
    const error = await read(file).catch((e) => e);
    expect(error).toBeInstanceOf(BlockscaleError);
    expect(error).toMatchObject({ code: "format", message: expect.stringMatching(message) });
    expect(error.fault.where).toContain("x.safetensors");
  });
});

test("a repeated name counts with its last entry", async () => {
  const { tensors } = await read(fileOf(`{${f32("a", "[2]", 0, 8)},${f32("a", "[1,2]", 0, 8)}}`, 8));
  expect(tensors).toEqual([{ name: "a", dtype: "F32", shape: [1, 2], begin: 0, end: 8 }]);
});

test("names and metadata keep every character", async () => {
  const name = 'é "\\ \u0000 😀 __proto__';
  const json = `{"__metadata__":{${JSON.stringify(name)}:${JSON.stringify(name)}},${f32(name, "[1]", 0, 4)}}`;
  const header = await read(fileOf(json, 4));
  expect(header.tensors[0]!.name).toBe(name);
  expect([...header.metadata!]).toEqual([[name, name]]);
});

test("a header is one read, and a long one a second, whatever the file's size", async () => {
  const huge = f32("a", "[2500000000]", 0, 10_000_000_000);
  for (const length of [1, 100_000]) {
    const bytes = fileOf(`{"__metadata__":{"x":"${"y".repeat(length)}"},${huge}}`);
    const reads: [number, number][] = [];
    const source = {
      size: bytes.length + 10_000_000_000,
      slice: (start: number, end: number) => {
        reads.push([start, end]);
        const found = new Uint8Array(end - start);
        found.set(bytes.subarray(start, end));
        return { arrayBuffer: async () => found.buffer };
      },
    };
    expect((await readHeader("big", source)).tensors[0]!.end).toBe(10_000_000_000);
    expect(reads).toEqual(
      length === 1
        ? [[0, 65536]]
        : [
            [0, 65536],
            [65536, bytes.length],
          ],
    );
  }
});

const dtypes = Object.keys(DTYPE_BITS) as Dtype[];
const specs = fc.uniqueArray(
  fc.record({
    name: fc.string({ unit: "grapheme" }).filter((name) => name !== "__metadata__"),
    dtype: fc.constantFrom(...dtypes.filter((dtype) => DTYPE_BITS[dtype] >= 8)),
    shape: fc.array(fc.nat(7), { maxLength: 4 }),
  }),
  { selector: ({ name }) => name, maxLength: 12 },
);

test("what is written can be read again, and the data starts aligned", () =>
  fc.assert(
    fc.asyncProperty(specs, fc.option(fc.dictionary(fc.string(), fc.string())), async (tensors, metadata) => {
      const pairs = metadata === null ? null : new Map(Object.entries(metadata));
      const { bytes, header } = serializeHeader("x", tensors, pairs);
      const size = tensors.reduce((n, { dtype, shape }) => n + byteLength(dtype, shape)!, 0);
      const file = new Uint8Array(bytes.length + size);
      file.set(bytes);
      const again = await read(file);
      expect(bytes.length % 8).toBe(0);
      // The order of tensors of size 0 at one place is not part of a header.
      const sorted = [...header.tensors].sort((a, b) => a.begin - b.begin || a.end - b.end);
      expect(again.tensors).toEqual(sorted);
      expect(again.metadata === null ? null : [...again.metadata]).toEqual(
        pairs === null ? null : [...pairs],
      );
    }),
  ));

test("the hub's own reader finds the same in what we write", async () => {
  const tensors: TensorSpec[] = [
    { name: "a.weight", dtype: "F8_E4M3", shape: [128, 256] },
    { name: "a.weight_scale_inv", dtype: "F32", shape: [1, 2] },
    { name: "b.scale", dtype: "F8_E8M0", shape: [3, 5] },
    { name: "é.weight", dtype: "BF16", shape: [2, 3] },
  ];
  const { bytes, header } = serializeHeader("x", tensors, new Map([["format", "pt"]]));
  const file = new Uint8Array(bytes.length + header.tensors.at(-1)!.end);
  file.set(bytes);
  const { header: theirs } = (await parseSafetensorsMetadata({
    repo: "someone/model",
    path: "model.safetensors",
    fetch: serve(file),
  })) as { header: { [name: string]: unknown } };
  expect(theirs.__metadata__).toMatchObject({ format: "pt" });
  for (const { name, dtype, shape, begin, end } of header.tensors) {
    expect(theirs[name]).toMatchObject({ dtype, shape, data_offsets: [begin, end] });
  }
});

/** A hub with one file, which answers range requests. */
function serve(file: Uint8Array): typeof fetch {
  return async (_url, init) => {
    const range = /bytes=(\d+)-(\d+)/.exec(new Headers(init?.headers).get("range") ?? "");
    if (range === null) return new Response(file as BodyInit);
    const [start, end] = [Number(range[1]), Math.min(file.length, Number(range[2]) + 1)];
    return new Response(file.slice(start, end), {
      status: 206,
      headers: { "content-range": `bytes ${start}-${end - 1}/${file.length}`, etag: '"x"' },
    });
  };
}

test("harmful text takes no more time than other text: names encoded many times over, a run of spaces", () => {
  const start = performance.now();
  const name = `%${"25".repeat(50_000)}2e.safetensors`;
  const index = JSON.stringify({ weight_map: { a: name } });
  expect(() => parseIndex("index", index)).toThrow(/inside the folder/);
  expect(editMember(`${" ".repeat(100_000)}{"a": 1}`, ["b"], 2)).toMatch(/"b": 2}$/);
  expect(performance.now() - start).toBeLessThan(1000);
});
