import { compressedTensorsMixed } from "../checkpoint/dialects/compressed-tensors.ts";
import type { Dialect, WeightStorage } from "../checkpoint/dialects/dialect.ts";
import { dialectOfFormats } from "../checkpoint/dialects/index.ts";
import { quarkMxfp6 } from "../checkpoint/dialects/quark.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { FORMATS } from "../tensor/formats.ts";
import { schemes } from "../tensor/schemes.ts";

/** The names of formats that a weight may be stored in. "bf16" is an unchanged weight, even a float32 one. */
export type WeightFormat =
  | "nvfp4"
  | "mxfp4"
  | "mxfp4Ocp"
  | "mxfp6"
  | "fp8"
  | "mxfp8"
  | "mxfp8Ocp"
  | "e5m2"
  | "bf16";

type Coded = Exclude<WeightFormat, "bf16">;

/** Formats that no dialect stores, for comparison: each is laid out like a similar one. */
const CONTROLS: Readonly<
  Partial<Record<WeightFormat, readonly [like: Coded, change: (like: WeightStorage) => WeightStorage]>>
> = {
  mxfp4Ocp: ["mxfp4", (like) => ({ ...like, scheme: schemes.mxfp4Ocp })],
  mxfp8Ocp: ["mxfp8", (like) => ({ ...like, scheme: schemes.mxfp8Ocp })],
  e5m2: [
    "fp8",
    ({ scheme, codes, ...like }) => ({
      ...like,
      scheme: { ...scheme, format: "e5m2" },
      codes: { ...codes, dtype: "F8_E5M2" },
    }),
  ],
};

/** How a dialect stores each format, controls included. */
function storagesOf({ formats = {} }: Dialect): Readonly<Record<string, WeightStorage>> {
  const controls = Object.entries(CONTROLS).flatMap(([name, [like, change]]) =>
    formats[like] === undefined ? [] : [[name, change(formats[like])]],
  );
  return { ...formats, ...Object.fromEntries(controls) };
}

const STORAGES = { ...storagesOf(compressedTensorsMixed), ...storagesOf(quarkMxfp6) } as Readonly<
  Record<Coded, WeightStorage>
>;

/**
 * The dialect in which weights of some formats are written and measured, controls included; `undefined` if no
 * dialect has all of them in one checkpoint.
 */
export function dialectFor(formats: Iterable<WeightFormat>): Dialect | undefined {
  const needed = [...formats].flatMap((name) => (name === "bf16" ? [] : [CONTROLS[name]?.[0] ?? name]));
  const dialect = dialectOfFormats(needed);
  return dialect && { ...dialect, formats: storagesOf(dialect) };
}

/**
 * The formats, of some given ones, that one checkpoint can mix: all of them, or if there is no such dialect,
 * those that are stored beside MXFP6.
 */
export function mixable(formats: readonly WeightFormat[]): readonly WeightFormat[] {
  return dialectFor(formats) ? formats : formats.filter((name) => dialectFor([name, "mxfp6"]) !== undefined);
}

/** Whether a checkpoint can store a format. Those that no dialect stores are for comparison only. */
export function isStorable(format: WeightFormat): boolean {
  return CONTROLS[format] === undefined;
}

/** @throws BlockscaleError `option`: no such format */
export function weightFormatOf(name: string): WeightFormat {
  if (name === "bf16" || Object.hasOwn(STORAGES, name)) return name as WeightFormat;
  throw new BlockscaleError("option", {
    where: "--formats",
    expected: `some of ${[...Object.keys(STORAGES), "bf16"].join(", ")}`,
    got: JSON.stringify(name),
    fix: "Leave it out to get nvfp4,mxfp4,fp8,bf16.",
  });
}

/**
 * Whether loaders round activations to FP8 before they multiply them with weights of this format. They do not
 * for weights of four or six bits, nor for plain ones.
 */
export function meetsFp8(format: WeightFormat): boolean {
  return format !== "bf16" && FORMATS[STORAGES[format].scheme.format].codeBits === 8;
}

/**
 * Bits of a matrix [rows, cols] in a format. Each scale counts as a byte, as UE8M0 and E4M3 have it, also
 * where it is stored as float32.
 * @returns `null` where the columns are no multiple of the block
 */
export function bitsOf(format: WeightFormat, [rows, cols]: readonly [number, number]): number | null {
  if (format === "bf16") return 16 * rows * cols;
  const { scheme } = STORAGES[format];
  const [blockRows, blockCols] = scheme.block;
  if (blockRows === 1 && cols % blockCols !== 0) return null;
  const scales = Math.ceil(rows / blockRows) * Math.ceil(cols / blockCols);
  return FORMATS[scheme.format].codeBits * rows * cols + 8 * scales;
}
