import { BlockscaleError } from "./errors.ts";
import { ROUNDING_ID, SCALE_TYPE_ID } from "./formats.ts";
import { checkFormat, type Format } from "./tensor.ts";

/**
 * How the power-of-two scale of a block follows from its largest magnitude (amax), with amax = m * 2^e, 1 <=
 * m < 2, and the format's largest value c * 2^emax, c = 1.75 in FP8, 1.5 in E2M1 and 1.875 in E2M3:
 * - `rceil`: smallest power of two that keeps amax in range: e - emax, one more if m > c
 *   (NVIDIA, DeepSeek, torchao RCEIL)
 * - `floor`: e - emax, amax may saturate (OCP MX v1.0, section 6.3)
 * - `ceil`: one more if m > 1 (torchao CEIL)
 * - `even`: one more if m rounds up to 2 in the element's precision (torchao EVEN)
 * - `evenFp4`: one more if m >= 1.75 (what compressed-tensors does for mxfp8: EVEN in the precision of FP4)
 */
export type Rounding = "rceil" | "floor" | "ceil" | "even" | "evenFp4";

/** How a tensor is quantised: a plain record; {@link schemes} holds the named ones. */
export interface Scheme {
  readonly format: Format;
  /** `[rows, cols]` of one block; `[1, 32]`, `[1, 128]` and `[128, 128]` are the fast ones. */
  readonly block: readonly [number, number];
  /** How a UE8M0 scale is rounded; an f32 scale is amax / largest value of the format, in float32. */
  readonly rounding: Rounding;
  /** Blocks with a smaller amax are scaled as if they had this one; 0 for none. */
  readonly amaxFloor: number;
  /**
   * The UE8M0 byte of an all-zero block. With f32 scales and amaxFloor 0, the multiplier of
   * such a block is 2^(zeroScale - 127); with amaxFloor > 0 the floor decides.
   */
  readonly zeroScale: number;
  /**
   * Type of the scales: UE8M0 bytes, float32 multipliers, or E4M3 bytes times one
   * float32 for the tensor (NVFP4): that is amax of the tensor / (448 * 6), and a block's
   * byte the nearest E4M3 of its amax / 6 over it.
   */
  readonly scale: "ue8m0" | "f32" | "e4m3";
}

function scheme(fields: Partial<Scheme>): Scheme {
  return Object.freeze({
    format: "e4m3",
    block: Object.freeze([1, 32] as const),
    rounding: "rceil",
    amaxFloor: 0,
    zeroScale: 0,
    scale: "ue8m0",
    ...fields,
  });
}

const BLOCK_1X16 = Object.freeze([1, 16] as const);
const BLOCK_1X128 = Object.freeze([1, 128] as const);
const BLOCK_128X128 = Object.freeze([128, 128] as const);

/** The names of the schemes in use. */
export type SchemeName =
  | "mxfp8"
  | "mxfp8Ocp"
  | "mxfp8E5m2"
  | "mxfp8CompressedTensors"
  | "deepseekActivation"
  | "deepseekWeight"
  | "deepseekV3Activation"
  | "deepseekV3Weight"
  | "mxfp6"
  | "mxfp4"
  | "mxfp4Ocp"
  | "nvfp4";

/** The schemes in use, by name. */
export const schemes: Readonly<Record<SchemeName, Scheme>> = /* @__PURE__ */ Object.freeze({
  /** MXFP8 as NVIDIA, torchao and Transformer Engine make it: 1x32, scale rounded up. */
  mxfp8: /* @__PURE__ */ scheme({}),
  /** MXFP8 to the letter of OCP MX v1.0: scale rounded down, block maxima may saturate. */
  mxfp8Ocp: /* @__PURE__ */ scheme({ rounding: "floor" }),
  /** MXFP8 with E5M2 elements, for gradients. */
  mxfp8E5m2: /* @__PURE__ */ scheme({ format: "e5m2" }),
  /** MXFP8 as llm-compressor and compressed-tensors make it. */
  mxfp8CompressedTensors: /* @__PURE__ */ scheme({ rounding: "evenFp4" }),
  /** DeepSeek-V3.1 activations: 1x128, amax at least 1e-4. */
  deepseekActivation: /* @__PURE__ */ scheme({ block: BLOCK_1X128, amaxFloor: 1e-4, zeroScale: 0x69 }),
  /** DeepSeek-V3.1 weights: 128x128 with UE8M0 scales; the scale of a zero block is 1, as in transformers. */
  deepseekWeight: /* @__PURE__ */ scheme({ block: BLOCK_128X128, zeroScale: 0x7f }),
  /** DeepSeek-V3 activations: 1x128 with float32 multipliers. */
  deepseekV3Activation: /* @__PURE__ */ scheme({
    block: BLOCK_1X128,
    amaxFloor: 1e-4,
    zeroScale: 0x69,
    scale: "f32",
  }),
  /** DeepSeek-V3 weights: 128x128 with float32 multipliers. */
  deepseekV3Weight: /* @__PURE__ */ scheme({ block: BLOCK_128X128, zeroScale: 0x7f, scale: "f32" }),
  /** MXFP6: E2M3 in 1x32, scale rounded up so that nothing saturates. */
  mxfp6: /* @__PURE__ */ scheme({ format: "e2m3" }),
  /** MXFP4: E2M1 in 1x32, scale rounded up so that nothing saturates. */
  mxfp4: /* @__PURE__ */ scheme({ format: "e2m1" }),
  /** MXFP4 to the letter of OCP MX v1.0: scale rounded down. */
  mxfp4Ocp: /* @__PURE__ */ scheme({ format: "e2m1", rounding: "floor" }),
  /** NVFP4: E2M1 in 1x16, E4M3 scales times one float32. */
  nvfp4: /* @__PURE__ */ scheme({ format: "e2m1", block: BLOCK_1X16, scale: "e4m3" }),
});

/**
 * A scheme from outside, given as a record or by its name in {@link schemes}, checked.
 * @throws BlockscaleError `option`: no such name, an unknown field, a value no scheme can have
 */
export function schemeOf(where: string, given: Scheme | SchemeName): Scheme {
  if (typeof given === "string" && !Object.hasOwn(schemes, given)) {
    throw wrong(where, `a scheme, or one of the names ${Object.keys(schemes).join(", ")}`, given);
  }
  const scheme = typeof given === "string" ? schemes[given] : given;
  checkScheme(where, scheme);
  return scheme;
}

/**
 * Checks a scheme from outside; its block is checked together with a shape.
 * @param fix what its giver can do about a wrong field
 * @throws BlockscaleError `option`
 */
export function checkScheme(where: string, scheme: Scheme, fix?: string): void {
  if (typeof scheme !== "object" || scheme === null)
    throw wrong(where, "a scheme, such as schemes.mxfp8", scheme, fix);
  checkFormat(`${where}.format`, scheme.format);
  const unknown = Object.keys(scheme).find((key) => !Object.hasOwn(schemes.mxfp8, key));
  if (unknown !== undefined) {
    throw wrong(where, `the fields ${Object.keys(schemes.mxfp8).join(", ")}`, unknown, fix);
  }
  const { rounding, scale, amaxFloor, zeroScale } = scheme;
  if (!Object.hasOwn(ROUNDING_ID, rounding)) {
    throw wrong(`${where}.rounding`, `one of ${Object.keys(ROUNDING_ID).join(", ")}`, rounding, fix);
  }
  if (scale !== "e4m3" && !Object.hasOwn(SCALE_TYPE_ID, scale))
    throw wrong(`${where}.scale`, "ue8m0, f32 or e4m3", scale, fix);
  if (scale === "e4m3" && scheme.format !== "e2m1")
    throw wrong(`${where}.scale`, 'ue8m0 or f32; e4m3 only with format "e2m1"', scale, fix);
  if (typeof amaxFloor !== "number" || !(amaxFloor >= 0 && Math.fround(amaxFloor) < Infinity)) {
    throw wrong(`${where}.amaxFloor`, "a finite number from 0", amaxFloor, fix);
  }
  if (!Number.isInteger(zeroScale) || zeroScale < 0 || zeroScale > 254) {
    throw wrong(`${where}.zeroScale`, "a UE8M0 byte from 0 to 254", zeroScale, fix);
  }
}

function wrong(
  where: string,
  expected: string,
  got: unknown,
  fix = "Start from one of `schemes`: { ...schemes.mxfp8, block: [1, 64] }.",
): BlockscaleError {
  return new BlockscaleError("option", { where, expected, got: String(got), fix });
}
