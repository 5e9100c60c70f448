/**
 * What blockscale must do everywhere, as one list of cases that needs nothing but the language and
 * crypto.subtle: whole outputs are hashed, so that runtimes can be compared by a few lines of text.
 */
import type { Engine } from "../../src/engine/engine.ts";
import type { Rounding, Scheme } from "../../src/tensor/schemes.ts";
import type { BlockScaled, Format, HalfValues, Values, ValueType } from "../../src/tensor/tensor.ts";
import { type Checkpoints, conversions } from "./conversions.ts";
import { hash } from "./hash.ts";
import { bf16Bits, everyTie, f16Bits, floatsOf, plainBits, weightBits } from "./inputs.ts";
import { integerFailures, productFailures } from "./products.ts";

/** The installed package, as far as the cases use it: `blockscale` and `blockscale/js` both fit. */
export interface Package {
  readonly schemes: Readonly<Record<string, Scheme>>;
  bf16(bits: Uint16Array): HalfValues;
  f16(bits: Uint16Array): HalfValues;
  readonly BlockscaleError: abstract new (...parameters: never[]) => Error & { readonly code: string };
}

/** What is hashed: the verbs of an engine, whoever implements them. */
export type Verbs = Pick<Engine, "encode" | "decode" | "quantize" | "dequantize">;

/** Case to hash of its outputs: the first 128 bits of their SHA-256. */
export type Hashes = Record<string, string>;

export interface Report {
  readonly variant: string;
  readonly hashes: Hashes;
  /** What else is wrong, in words. */
  readonly failures: readonly string[];
}

const FORMATS: readonly Format[] = ["e4m3", "e5m2"];
const TYPES: readonly ValueType[] = ["f32", "bf16", "f16"];
const ROUNDINGS: readonly Rounding[] = ["rceil", "floor", "ceil", "even", "evenFp4"];

/** Ragged against every block, leading dimension and all; the second is larger than what passes at a time. */
const SHAPES = [
  [2, 131, 163],
  [300, 517],
] as const;

/** Every case on these verbs. NaNs are made equal first: which NaN a product is, WebAssembly leaves open. */
export async function hashes(fp8: Verbs, api: Package): Promise<Hashes> {
  const all: Hashes = {};
  for (const format of FORMATS) {
    all[`encode ${format}`] = await hash(fp8.encode(everyTie(), format));
    all[`decode ${format}`] = await hash(oneNaN(fp8.decode(everyByte(), format), "f32"));
  }
  for (const [name, scheme] of Object.entries(schemesOf(api))) {
    const shapes = SHAPES.map((shape) => [...shape.slice(0, -1), inWholeBytes(scheme.format, shape.at(-1)!)]);
    for (const shape of shapes) {
      const n = shape.reduce((product, size) => product * size, 1);
      // The float32 of NVFP4 is that of the largest magnitude: one special of 2^127 would make zeros of all other blocks.
      const bits = scheme.scale === "e4m3" ? plainBits(shape[0]!, n) : weightBits(shape[0]!, n);
      for (const type of TYPES) {
        const tensor = fp8.quantize(valuesOf(type, bits, api), shape, scheme);
        const values = fp8.dequantize(tensor, type);
        const label = `${name} ${type} ${shape.join("x")}`;
        const scales = tensor.scales instanceof Float32Array ? oneNaN(tensor.scales, "f32") : tensor.scales;
        all[`quantize ${label}`] = await hash(tensor.codes, scales);
        all[`dequantize ${label}`] = await hash(oneNaN(values, type));
      }
    }
  }
  for (const format of FORMATS) {
    for (const type of TYPES) {
      const values = fp8.dequantize(everyCodeAndScale(format), type);
      all[`every code, every scale: ${format} ${type}`] = await hash(oneNaN(values, type));
    }
  }
  return all;
}

/** At least so many columns: two E2M1 codes fill a byte, four E2M3 codes three bytes. */
function inWholeBytes(format: Format, cols: number): number {
  const together = format === "e2m1" ? 2 : format === "e2m3" ? 4 : 1;
  return Math.ceil(cols / together) * together;
}

/** Hashes of what was lost, sums included: their order is the same everywhere. */
export async function precisions(fp8: Engine, { schemes }: Package): Promise<Hashes> {
  const all: Hashes = {};
  for (const name of Object.keys(schemes).sort()) {
    const cols = inWholeBytes(schemes[name]!.format, 517);
    const values = floatsOf(plainBits(3, 300 * cols));
    const tensor = fp8.quantize(values, [300, cols], schemes[name]!);
    all[`compare ${name}`] = await hash(Float64Array.from(Object.values(fp8.compare(values, tensor))));
  }
  return all;
}

/** The whole suite on one engine. */
export async function conformance(fp8: Engine, api: Package, checkpoints: Checkpoints): Promise<Report> {
  const failures = CHECKS.flatMap(([name, holds]) => {
    try {
      return holds(fp8, api) ? [] : [name];
    } catch (error) {
      return [`${name}: ${error}`];
    }
  });
  failures.push(...productFailures(fp8, api), ...integerFailures(fp8, api));
  const all = {
    ...(await hashes(fp8, api)),
    ...(await precisions(fp8, api)),
    ...(await conversions(fp8, checkpoints)),
  };
  return { variant: fp8.variant, hashes: all, failures };
}

/** The named schemes, and every rounding on blocks that no kernel is made for. */
function schemesOf({ schemes }: Package): Record<string, Scheme> {
  const odd = ROUNDINGS.map((rounding): [string, Scheme] => [
    `${rounding} 7x13`,
    { ...schemes.mxfp8E5m2!, block: [7, 13], rounding },
  ]);
  const names = Object.keys(schemes).sort();
  return Object.fromEntries([...names.map((name): [string, Scheme] => [name, schemes[name]!]), ...odd]);
}

function everyByte(): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, i) => i);
}

/** Row s holds all 256 codes under the scale byte s. */
function everyCodeAndScale(format: Format): BlockScaled {
  const codes = Uint8Array.from({ length: 65536 }, (_, i) => i & 0xff);
  return { format, shape: [256, 256], block: [1, 256], codes, scales: everyByte() };
}

function valuesOf(type: ValueType, bits: Uint32Array, { bf16, f16 }: Package): Values {
  if (type === "f32") return floatsOf(bits);
  return type === "bf16" ? bf16(bf16Bits(bits)) : f16(f16Bits(bits));
}

/** Infinity of a value type; greater magnitudes are NaN. */
const INFINITY = { f32: 0x7f800000, bf16: 0x7f80, f16: 0x7c00 } as const;

/** The bits of values, with one NaN for all of them. */
function oneNaN(values: Float32Array | Uint16Array, type: ValueType): Uint32Array | Uint16Array {
  const bits =
    values instanceof Float32Array
      ? new Uint32Array(values.buffer, values.byteOffset, values.length).slice()
      : values.slice();
  const magnitude = type === "f32" ? 0x7fffffff : 0x7fff;
  const infinity = INFINITY[type];
  for (let i = 0; i < bits.length; i++) if ((bits[i]! & magnitude) > infinity) bits[i] = magnitude;
  return bits;
}

/** What cannot be said by a hash. */
const CHECKS: readonly (readonly [name: string, holds: (fp8: Engine, api: Package) => boolean])[] = [
  [
    "the value 448 is the code 0x7E, NaN is 0x7F with its sign, -0 stays",
    (fp8) =>
      `${fp8.encode(floatsOf(Uint32Array.of(0x43e00000, 0xffc00000, 0x80000000)), "e4m3")}` === "126,255,128",
  ],
  [
    "a block of one in mxfp8 has the scale 2^-8",
    (fp8, { schemes }) =>
      fp8.quantize(new Float32Array(32).fill(1), [1, 32], schemes.mxfp8!).scales[0] === 127 - 8,
  ],
  [
    "Float16Array is what f16 says of its bits",
    (fp8, { schemes, f16 }) => {
      const Float16 = (globalThis as { Float16Array?: new (b: ArrayBuffer) => Values }).Float16Array;
      if (Float16 === undefined) return true;
      const bits = f16Bits(weightBits(7, 4096));
      const given = fp8.quantize(new Float16(bits.buffer as ArrayBuffer), [64, 64], schemes.mxfp8!);
      const said = fp8.quantize(f16(bits), [64, 64], schemes.mxfp8!);
      return `${given.codes} ${given.scales}` === `${said.codes} ${said.scales}`;
    },
  ],
  [
    "results go where `out` says",
    (fp8) => {
      const out = new Uint8Array(3);
      return fp8.encode(Float32Array.of(1, 2, 3), "e4m3", { out }) === out && `${out}` === "56,64,68";
    },
  ],
  [
    "a tensor without elements is one",
    (fp8, { schemes }) => fp8.quantize(new Float32Array(0), [0, 32], schemes.mxfp8!).codes.length === 0,
  ],
  [
    "a wrong shape is a BlockscaleError",
    (fp8, { schemes, BlockscaleError }) => {
      try {
        fp8.quantize(new Float32Array(32), [2, 32], schemes.mxfp8!);
      } catch (error) {
        return (
          error instanceof BlockscaleError && error.code === "shape" && /expected .* got/.test(`${error}`)
        );
      }
      return false;
    },
  ],
];
