import type { Engine } from "../../src/engine/engine.ts";
import type { ErrorCode } from "../../src/tensor/errors.ts";
import { bf16, f16 } from "../../src/tensor/halves.ts";
import { schemes } from "../../src/tensor/schemes.ts";
import { reference } from "../reference/engine.ts";
import { randomNormal } from "../support/random.ts";

/**
 * A call that has to fail: what is wrong with it, the code of its error, and the
 * call. Types are lied to, as JavaScript can.
 */
export type Wrong = readonly [what: string, code: ErrorCode, call: (fp8: Engine) => unknown];

// biome-ignore lint/suspicious/noExplicitAny: arguments that the types forbid are what is tested
export type Anything = any;

export const values = randomNormal(9, 256);
export const shape = [2, 128] as const;
export const { mxfp8 } = schemes;
export const tensor = Object.freeze(reference.quantize(values, shape, mxfp8));
const codes = tensor.codes;

function detached<T extends ArrayBufferView>(view: T): T {
  structuredClone(view.buffer, { transfer: [view.buffer as ArrayBuffer] });
  return view;
}

/** Buffers that change their length under a view. TypeScript's library of ES2022 does not know them. */
const Resizable = ArrayBuffer as unknown as new (
  n: number,
  options: { maxByteLength: number },
) => ArrayBuffer;
const Growable = SharedArrayBuffer as unknown as new (
  n: number,
  options: { maxByteLength: number },
) => SharedArrayBuffer;
const resizable = (bytes: number): ArrayBuffer => new Resizable(bytes, { maxByteLength: 2 * bytes });
const growable = (bytes: number): SharedArrayBuffer => new Growable(bytes, { maxByteLength: 2 * bytes });

export const shared = new ArrayBuffer(2048);

const ENCODE: readonly Wrong[] = [
  ["an array of numbers", "buffer", (fp8) => fp8.encode([1, 2] as Anything, "e4m3")],
  ["float64", "buffer", (fp8) => fp8.encode(new Float64Array(4) as Anything, "e4m3")],
  ["a DataView", "buffer", (fp8) => fp8.encode(new DataView(shared) as Anything, "e4m3")],
  ["no values", "buffer", (fp8) => fp8.encode(undefined as Anything, "e4m3")],
  ["null", "buffer", (fp8) => fp8.encode(null as Anything, "e4m3")],
  ["bf16 values", "buffer", (fp8) => fp8.encode(bf16(new Uint16Array(4)) as Anything, "e4m3")],
  ["a detached input", "buffer", (fp8) => fp8.encode(detached(values.slice()), "e4m3")],
  ["a resizable input", "buffer", (fp8) => fp8.encode(new Float32Array(resizable(64)), "e4m3")],
  ["a growable input", "buffer", (fp8) => fp8.encode(new Float32Array(growable(64)), "e4m3")],
  ["an unknown format", "option", (fp8) => fp8.encode(values, "e3m4" as Anything)],
  ["no format", "option", (fp8) => (fp8.encode as Anything)(values)],
  ["a format named like a method", "option", (fp8) => fp8.encode(values, "toString" as Anything)],
  ["`out` too short", "shape", (fp8) => fp8.encode(values, "e4m3", { out: new Uint8Array(255) })],
  ["`out` too long", "shape", (fp8) => fp8.encode(values, "e4m3", { out: new Uint8Array(257) })],
  ["`out` of floats", "buffer", (fp8) => fp8.encode(values, "e4m3", { out: values as Anything })],
  ["`out` of int8", "buffer", (fp8) => fp8.encode(values, "e4m3", { out: new Int8Array(256) as Anything })],
  ["`out` null", "buffer", (fp8) => fp8.encode(values, "e4m3", { out: null as Anything })],
  [
    "`out` detached",
    "buffer",
    (fp8) => fp8.encode(new Float32Array(0), "e4m3", { out: detached(new Uint8Array(4)) }),
  ],
  ["`out` resizable", "buffer", (fp8) => fp8.encode(values, "e4m3", { out: new Uint8Array(resizable(256)) })],
  [
    "`out` over the input",
    "buffer",
    (fp8) => fp8.encode(new Float32Array(shared, 0, 256), "e4m3", { out: new Uint8Array(shared, 1023, 256) }),
  ],
];

const DECODE: readonly Wrong[] = [
  ["an array of numbers", "buffer", (fp8) => fp8.decode([1, 2] as Anything, "e4m3")],
  ["int8", "buffer", (fp8) => fp8.decode(new Int8Array(4) as Anything, "e4m3")],
  ["a detached input", "buffer", (fp8) => fp8.decode(detached(codes.slice()), "e4m3")],
  ["a resizable input", "buffer", (fp8) => fp8.decode(new Uint8Array(resizable(64)), "e4m3")],
  ["an unknown format", "option", (fp8) => fp8.decode(codes, "E4M3" as Anything)],
  ["`out` too short", "shape", (fp8) => fp8.decode(codes, "e4m3", { out: new Float32Array(255) })],
  [
    "`out` of float64",
    "buffer",
    (fp8) => fp8.decode(codes, "e4m3", { out: new Float64Array(256) as Anything }),
  ],
  [
    "`out` resizable",
    "buffer",
    (fp8) => fp8.decode(codes, "e4m3", { out: new Float32Array(resizable(1024)) }),
  ],
  [
    "`out` over the input",
    "buffer",
    (fp8) => fp8.decode(new Uint8Array(shared, 0, 256), "e4m3", { out: new Float32Array(shared, 0, 256) }),
  ],
];

const SHAPES: readonly Wrong[] = [
  ...(
    [
      ["too few elements", [2, 129]],
      ["too many elements", [2, 127]],
      ["a negative size", [-2, -128]],
      ["a fraction", [2.5, 102.4]],
      ["NaN", [Number.NaN, 128]],
      ["Infinity", [Number.POSITIVE_INFINITY, 0]],
      ["a string", ["2", "128"]],
      ["a bigint", [2n, 128n]],
      ["a hole", new Array(2)],
      ["a number for a shape", 256],
      ["a string for a shape", "2x128"],
      ["no shape", undefined],
      ["null", null],
      ["33 dimensions", new Array(33).fill(1)],
      ["one element more than 2^32", [2 ** 32 + 1]],
      ["more than 2^32 elements", [65536, 65537]],
      ["more than 2^32 elements in slices", [3, 2 ** 20, 2 ** 20]],
      ["2^53 and more", [2 ** 53, 2 ** 53]],
      ["a size beyond 2^53", [2 ** 60, 1]],
    ] as const
  ).map(([what, wrong]): Wrong => [what, "shape", (fp8) => fp8.quantize(values, wrong as Anything, mxfp8)]),
  [
    "an absurd size that a zero would hide",
    "shape",
    (fp8) => fp8.quantize(new Float32Array(0), [2 ** 40, 0], mxfp8),
  ],
  ...(
    [
      ["no rows", [0, 32]],
      ["negative columns", [1, -32]],
      ["a fraction", [1, 2.5]],
      ["2^31 columns", [1, 2 ** 31]],
      ["one number", [32]],
      ["three numbers", [1, 1, 32]],
      ["a string", "1x32"],
      ["strings", ["1", "32"]],
      ["nothing", undefined],
    ] as const
  ).map(
    ([what, block]): Wrong => [
      `a block of ${what}`,
      "shape",
      (fp8) => fp8.quantize(values, shape, { ...mxfp8, block: block as Anything }),
    ],
  ),
];

const SCHEMES: readonly Wrong[] = (
  [
    ["no scheme", undefined],
    ["null", null],
    ["an unknown name of a scheme", "mxfp9"],
    ["no format", { ...mxfp8, format: undefined }],
    ["an unknown format", { ...mxfp8, format: "e3m2" }],
    ["an unknown rounding", { ...mxfp8, rounding: "nearest" }],
    ["a rounding named like a method", { ...mxfp8, rounding: "constructor" }],
    ["an unknown scale", { ...mxfp8, scale: "bf16" }],
    ["a scale named like a method", { ...mxfp8, scale: "toString" }],
    ["a negative floor", { ...mxfp8, amaxFloor: -1e-4 }],
    ["NaN for a floor", { ...mxfp8, amaxFloor: Number.NaN }],
    ["an infinite floor", { ...mxfp8, amaxFloor: Number.POSITIVE_INFINITY }],
    ["a floor beyond float32", { ...mxfp8, amaxFloor: 3.5e38 }],
    ["a string for a floor", { ...mxfp8, amaxFloor: "1e-4" }],
    ["a negative zero scale", { ...mxfp8, zeroScale: -1 }],
    ["NaN as the scale of zero blocks", { ...mxfp8, zeroScale: 255 }],
    ["a fraction for a zero scale", { ...mxfp8, zeroScale: 1.5 }],
    ["no zero scale", { ...mxfp8, zeroScale: undefined }],
  ] as const
).map(([what, scheme]): Wrong => [what, "option", (fp8) => fp8.quantize(values, shape, scheme as Anything)]);

const quantizeInto = (out: Anything) => (fp8: Engine) => fp8.quantize(values, shape, mxfp8, { out });
const scales = tensor.scales as Uint8Array;

const QUANTIZE: readonly Wrong[] = [
  ["untagged 16-bit values", "buffer", (fp8) => fp8.quantize(new Uint16Array(256) as Anything, shape, mxfp8)],
  ["float64", "buffer", (fp8) => fp8.quantize(new Float64Array(256) as Anything, shape, mxfp8)],
  ["no values", "buffer", (fp8) => fp8.quantize(undefined as Anything, shape, mxfp8)],
  ["bf16 of floats", "buffer", (fp8) => fp8.quantize(bf16(values as Anything), shape, mxfp8)],
  [
    "a tag that does not exist",
    "buffer",
    (fp8) => fp8.quantize({ type: "f8", bits: new Uint16Array(256) } as Anything, shape, mxfp8),
  ],
  ["bf16 of another length", "shape", (fp8) => fp8.quantize(bf16(new Uint16Array(255)), shape, mxfp8)],
  ["detached f16", "buffer", (fp8) => fp8.quantize(f16(detached(new Uint16Array(256))), shape, mxfp8)],
  ["detached f32", "buffer", (fp8) => fp8.quantize(detached(values.slice()), shape, mxfp8)],
  ["resizable", "buffer", (fp8) => fp8.quantize(new Float32Array(resizable(1024)), shape, mxfp8)],
  ["`out.codes` too short", "shape", quantizeInto({ codes: new Uint8Array(255), scales: new Uint8Array(8) })],
  ["`out.scales` too long", "shape", quantizeInto({ codes: new Uint8Array(256), scales: new Uint8Array(9) })],
  [
    "multipliers for scale bytes",
    "buffer",
    quantizeInto({ codes: new Uint8Array(256), scales: new Float32Array(8) }),
  ],
  [
    "scale bytes for multipliers",
    "buffer",
    (fp8) =>
      fp8.quantize(
        values,
        shape,
        { ...mxfp8, scale: "f32" },
        {
          out: { codes: new Uint8Array(256), scales: new Uint8Array(8) },
        },
      ),
  ],
  [
    "`out.codes` over `out.scales`",
    "buffer",
    quantizeInto({ codes: new Uint8Array(shared, 0, 256), scales: new Uint8Array(shared, 255, 8) }),
  ],
  [
    "`out.scales` over the input",
    "buffer",
    (fp8) =>
      fp8.quantize(new Float32Array(shared, 0, 256), shape, mxfp8, {
        out: { codes: new Uint8Array(256), scales: new Uint8Array(shared, 1000, 8) },
      }),
  ],
  ["`out` without scales", "buffer", quantizeInto({ codes: new Uint8Array(256) })],
  ["`out` without codes", "buffer", quantizeInto({ scales: new Uint8Array(8) })],
  ["an array as `out`", "buffer", quantizeInto(new Uint8Array(256))],
];

const DEQUANTIZE: readonly Wrong[] = [
  ["no tensor", "option", (fp8) => fp8.dequantize(undefined as Anything)],
  ["null", "option", (fp8) => fp8.dequantize(null as Anything)],
  ["codes alone", "option", (fp8) => fp8.dequantize(codes as Anything)],
  ["an unknown type", "option", (fp8) => fp8.dequantize(tensor, "f64" as Anything)],
  ["a type named like a method", "option", (fp8) => fp8.dequantize(tensor, "valueOf" as Anything)],
  ["an unknown format", "option", (fp8) => fp8.dequantize({ ...tensor, format: "e3m2" as Anything })],
  ["another shape", "shape", (fp8) => fp8.dequantize({ ...tensor, shape: [2, 64] })],
  ["no shape", "shape", (fp8) => fp8.dequantize({ ...tensor, shape: undefined as Anything })],
  ["a shape beyond 2^32", "shape", (fp8) => fp8.dequantize({ ...tensor, shape: [2 ** 20, 2 ** 20] })],
  ["another block", "shape", (fp8) => fp8.dequantize({ ...tensor, block: [1, 64] })],
  ["no block", "shape", (fp8) => fp8.dequantize({ ...tensor, block: undefined as Anything })],
  ["too few codes", "shape", (fp8) => fp8.dequantize({ ...tensor, codes: codes.slice(1) })],
  ["signed codes", "buffer", (fp8) => fp8.dequantize({ ...tensor, codes: new Int8Array(256) as Anything })],
  ["detached codes", "buffer", (fp8) => fp8.dequantize({ ...tensor, codes: detached(codes.slice()) })],
  ["too few scales", "shape", (fp8) => fp8.dequantize({ ...tensor, scales: scales.slice(1) })],
  ["no scales", "buffer", (fp8) => fp8.dequantize({ ...tensor, scales: undefined as Anything })],
  [
    "scales in 16 bits",
    "buffer",
    (fp8) => fp8.dequantize({ ...tensor, scales: new Uint16Array(8) as Anything }),
  ],
  ["signed scales", "buffer", (fp8) => fp8.dequantize({ ...tensor, scales: new Int8Array(8) as Anything })],
  ["detached scales", "buffer", (fp8) => fp8.dequantize({ ...tensor, scales: detached(scales.slice()) })],
  [
    "`out` of floats for bf16",
    "buffer",
    (fp8) => fp8.dequantize(tensor, "bf16", { out: new Float32Array(256) as Anything }),
  ],
  [
    "`out` of bits for f32",
    "buffer",
    (fp8) => fp8.dequantize(tensor, "f32", { out: new Uint16Array(256) as Anything }),
  ],
  ["`out` too long", "shape", (fp8) => fp8.dequantize(tensor, "f32", { out: new Float32Array(257) })],
  [
    "`out` over the codes",
    "buffer",
    (fp8) =>
      fp8.dequantize({ ...tensor, codes: new Uint8Array(shared, 0, 256) }, "f32", {
        out: new Float32Array(shared, 0, 256),
      }),
  ],
];

/** The options argument itself. */
const OPTIONS: readonly Wrong[] = [
  ["null for options of encode", "option", (fp8) => fp8.encode(values, "e4m3", null as Anything)],
  ["null for options of decode", "option", (fp8) => fp8.decode(codes, "e4m3", null as Anything)],
  ["null for options of quantize", "option", (fp8) => fp8.quantize(values, shape, mxfp8, null as Anything)],
  ["null for options of dequantize", "option", (fp8) => fp8.dequantize(tensor, "f32", null as Anything)],
];

/** All of them, by the verb of the engine. */
export const WRONG_CALLS: readonly (readonly [verb: string, calls: readonly Wrong[]])[] = [
  ["encode", ENCODE],
  ["decode", DECODE],
  ["quantize: shape", SHAPES],
  ["quantize: scheme", SCHEMES],
  ["quantize", QUANTIZE],
  ["dequantize", DEQUANTIZE],
  ["options", OPTIONS],
];
