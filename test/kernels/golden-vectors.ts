/**
 * Worked vectors of the peers, as bits: what they were seen to compute, on a CPU, from their public sources.
 * Where this package decides otherwise, the entry says so.
 */
import { type Scheme, schemes } from "../../src/tensor/schemes.ts";
import type { Fp8Format as Format } from "../../src/tensor/tensor.ts";

/** float32 bits and the code they become. */
export interface CastVectors {
  readonly source: string;
  readonly format: Format;
  readonly rows: readonly (readonly [bits: number, code: number])[];
}

export const CASTS: readonly CastVectors[] = [
  {
    source: "torch 2.13 float8_e4m3fn and ONNX Runtime 1.30 Cast(saturate=1), which agree",
    format: "e4m3",
    rows: [
      [0x43e80000, 0x7e], // 464: halfway to the 480 that does not exist
      [0x43e80001, 0x7e],
      [0x43f00000, 0x7e], // 480
      [0x7f800000, 0x7e], // Inf
      [0xff800000, 0xfe],
      [0x7fc00000, 0x7f], // NaN keeps its sign
      [0xffc00000, 0xff],
      [0x3a800000, 0x00], // 2^-10, a tie
      [0x3a800001, 0x01],
      [0x3b400000, 0x02], // 1.5 * 2^-9, a tie
      [0x3b3fffff, 0x01],
      [0x3c7fffff, 0x08], // rounds up to the smallest normal
      [0x3f880000, 0x38],
      [0x3f880001, 0x39], // 0x38 if it went through bf16 or f16
      [0x3f980000, 0x3a],
      [0xba800000, 0x80],
      [0x80000001, 0x80],
      [0x80000000, 0x80],
    ],
  },
  {
    source: "ml_dtypes 0.6 float8_e4m3fn below 464, where it does not overflow",
    format: "e4m3",
    rows: [
      [0x43e00000, 0x7e], // 448
      [0x43dfffff, 0x7e],
      [0x43d80000, 0x7e], // 432: a tie between 416 and 448, to the even code
      [0x43d7ffff, 0x7d],
    ],
  },
  {
    source: "ONNX Runtime 1.30 Cast(saturate=1) to float8e5m2",
    format: "e5m2",
    rows: [
      [0x476fffff, 0x7b],
      [0x47700000, 0x7b], // 61440: Inf in torch and ml_dtypes, which do not saturate
      [0x7f800000, 0x7b],
      [0xff800000, 0xfb],
      [0x7fc00000, 0x7f],
      [0xffc00000, 0xff],
      [0x37000000, 0x00], // 2^-17, a tie
      [0x37000001, 0x01],
      [0x37c00000, 0x02],
    ],
  },
];

/** Codes and the numbers that their documents give them. */
export const VALUES: readonly (readonly [format: Format, code: number, value: number])[] = [
  // OCP OFP8 v1.0, table 1
  ["e4m3", 0x7e, 448],
  ["e4m3", 0x08, 2 ** -6],
  ["e4m3", 0x07, 0.875 * 2 ** -6],
  ["e4m3", 0x01, 2 ** -9],
  ["e4m3", 0x38, 1],
  ["e4m3", 0x80, -0],
  ["e4m3", 0x7f, Number.NaN],
  ["e4m3", 0xff, Number.NaN],
  ["e5m2", 0x7b, 57344],
  ["e5m2", 0x04, 2 ** -14],
  ["e5m2", 0x03, 0.75 * 2 ** -14],
  ["e5m2", 0x01, 2 ** -16],
  ["e5m2", 0x3c, 1],
  ["e5m2", 0x7c, Number.POSITIVE_INFINITY],
  ["e5m2", 0xfc, Number.NEGATIVE_INFINITY],
  ["e5m2", 0x80, -0],
  ["e5m2", 0x7d, Number.NaN],
  ["e5m2", 0x7e, Number.NaN],
  ["e5m2", 0x7f, Number.NaN],
  ["e5m2", 0xfd, Number.NaN],
  ["e5m2", 0xff, Number.NaN],
];

/** One block: float32 bits, and what becomes of it. Elements that are not listed are +0. */
export interface BlockVector {
  readonly values: readonly number[];
  /** The scale byte, or the bits of the float32 multiplier ("NaN" for any NaN). */
  readonly scale: number | "NaN";
  /** Of the listed values, or of the whole block where a listed value is not finite. */
  readonly codes: readonly number[];
}

/** Vectors of one peer under one scheme. */
export interface BlockVectors {
  readonly source: string;
  readonly scheme: Scheme;
  readonly blocks: readonly BlockVector[];
}

const ACTIVATION_BF16 = [
  0x3dcd, 0xbe4d, 0x3e9a, 0x3f80, 0xbfc0, 0x4000, 0x4049, 0xc0f0, 0x3a83, 0x3a03, 0x0000, 0x8000, 0x40c3,
  0x3c80, 0x3c70, 0x3c60,
].map((bits) => bits * 0x10000);

const INF = 0x7f800000;
const NAN = 0x7fc00000;
const F32_MAX = 0x7f7fffff;
const ONE = 0x3f800000;
const FIVE = (n: number): number[] => new Array(5).fill(n);

const DEEPSEEK: readonly BlockVectors[] = [
  {
    source: "DeepGEMM per_token_cast_to_fp8(use_ue8m0=True), reference run on CPU",
    scheme: schemes.deepseekActivation,
    blocks: [
      { values: [0], scale: 0x69, codes: [0x00] },
      { values: [0x3727c5ac, 0x36a7c5ac], scale: 0x69, codes: [0x62, 0x5a] }, // 1e-5, 5e-6: below the floor
      { values: [0x38d1b717], scale: 0x69, codes: [0x7d] }, // 1e-4: the floor itself
      { values: [ONE, 0x3e99999a, 0xbf333333], scale: 0x77, codes: [0x78, 0x6a, 0xf3] },
      { values: [0x43e00000, ONE, 0xc3e00000], scale: 0x7f, codes: [0x7e, 0x38, 0xfe] },
      { values: [0x43e00001, ONE], scale: 0x80, codes: [0x76, 0x30] }, // 448 + 1 ulp
      { values: [0x43f00000, ONE], scale: 0x80, codes: [0x77, 0x30] },
      { values: [F32_MAX], scale: 0xf7, codes: [0x78] },
      {
        values: ACTIVATION_BF16,
        scale: 0x7a,
        codes: [
          0x45, 0xcd, 0x52, 0x60, 0xe4, 0x68, 0x6d, 0xf7, 0x10, 0x08, 0x00, 0x80, 0x74, 0x30, 0x2f, 0x2e,
        ],
      },
      // DeepGEMM clamps the scale of these two to 0xFE; here the block is NaN, as in torchao.
      { values: [NAN, ONE], scale: 0xff, codes: FIVE(0x7f) },
      { values: [INF, ONE], scale: 0xff, codes: FIVE(0x7f) },
    ],
  },
  {
    source: "DeepGEMM per_token_cast_to_fp8(use_ue8m0=False), reference run on CPU",
    scheme: schemes.deepseekV3Activation,
    blocks: [
      { values: [0], scale: 0x346facad, codes: [0x00] },
      { values: [0x3727c5ac, 0x36a7c5ac], scale: 0x346facad, codes: [0x63, 0x5b] },
      { values: [0x38d1b717], scale: 0x346facad, codes: [0x7e] },
      { values: [ONE, 0x3e99999a, 0xbf333333], scale: 0x3b124925, codes: [0x7e, 0x70, 0xfa] },
      { values: [0x43e00000, ONE, 0xc3e00000], scale: 0x3f800000, codes: [0x7e, 0x38, 0xfe] },
      { values: [0x43e00001, ONE], scale: 0x3f800001, codes: [0x7e, 0x38] },
      { values: [0x43f00000, ONE], scale: 0x3f892492, codes: [0x7e, 0x37] },
      { values: [F32_MAX], scale: 0x7b124924, codes: [0x7e] },
      {
        values: ACTIVATION_BF16,
        scale: 0x3c892492,
        codes: [
          0x4c, 0xd4, 0x59, 0x67, 0xeb, 0x6f, 0x74, 0xfe, 0x17, 0x0f, 0x00, 0x80, 0x7b, 0x37, 0x36, 0x35,
        ],
      },
      { values: [NAN, ONE], scale: "NaN", codes: FIVE(0x7f) },
      // DeepGEMM keeps Inf as the multiplier and gets NaN on decoding; here the multiplier is NaN.
      { values: [INF, ONE], scale: "NaN", codes: FIVE(0x7f) },
    ],
  },
];

/** amax, amax / 2, -0.3 amax in float32, and per mode the scale byte and the three codes. */
const TORCHAO_MODES: readonly (readonly [
  values: readonly [number, number, number],
  floor: readonly number[],
  rceil: readonly number[],
  ceil: readonly number[],
  even: readonly number[],
])[] = [
  same([0x00000000, 0x00000000, 0x80000000], [0x00, 0x00, 0x00, 0x80]),
  same([0x00800000, 0x00400000, 0x80266666], [0x00, 0x40, 0x38, 0xb2]), // 2^-126
  same([0x3f800000, 0x3f000000, 0xbe99999a], [0x77, 0x78, 0x70, 0xea]),
  [
    [0x3fe00000, 0x3f600000, 0xbf066666], // 1.75
    [0x77, 0x7e, 0x76, 0xf0],
    [0x77, 0x7e, 0x76, 0xf0],
    [0x78, 0x76, 0x6e, 0xe8],
    [0x77, 0x7e, 0x76, 0xf0],
  ],
  [
    [0x3fe00001, 0x3f600001, 0xbf066667],
    [0x77, 0x7e, 0x76, 0xf0],
    [0x78, 0x76, 0x6e, 0xe8],
    [0x78, 0x76, 0x6e, 0xe8],
    [0x77, 0x7e, 0x76, 0xf0],
  ],
  [
    [0x3ff7ffff, 0x3f77ffff, 0xbf14cccc], // 1 ulp below 1.9375
    [0x77, 0x7e, 0x77, 0xf1],
    [0x78, 0x77, 0x6f, 0xe9],
    [0x78, 0x77, 0x6f, 0xe9],
    [0x77, 0x7e, 0x77, 0xf1],
  ],
  [
    [0x3ff80000, 0x3f780000, 0xbf14cccd], // 1.9375
    [0x77, 0x7e, 0x78, 0xf1],
    [0x78, 0x78, 0x70, 0xe9],
    [0x78, 0x78, 0x70, 0xe9],
    [0x78, 0x78, 0x70, 0xe9],
  ],
  [
    [0x43f00000, 0x43700000, 0xc3100000], // 480
    [0x7f, 0x7e, 0x77, 0xf1],
    [0x80, 0x77, 0x6f, 0xe9],
    [0x80, 0x77, 0x6f, 0xe9],
    [0x7f, 0x7e, 0x77, 0xf1],
  ],
  [
    [0x43ffffff, 0x437fffff, 0xc3199999], // 1 ulp below 512
    [0x7f, 0x7e, 0x78, 0xf2],
    [0x80, 0x78, 0x70, 0xea],
    [0x80, 0x78, 0x70, 0xea],
    [0x80, 0x78, 0x70, 0xea],
  ],
  [
    [F32_MAX, 0x7effffff, 0xfe999999],
    [0xf6, 0x7e, 0x78, 0xf2],
    [0xf7, 0x78, 0x70, 0xea],
    [0xf7, 0x78, 0x70, 0xea],
    [0xff, 0x7f, 0x7f, 0x7f],
  ],
  same([INF, INF, 0xff800000], [0xff, 0x7f, 0x7f, 0x7f]),
  same([NAN, NAN, 0xffc00000], [0xff, 0x7f, 0x7f, 0x7f]),
];

function same(
  values: readonly [number, number, number],
  becomes: readonly number[],
): (typeof TORCHAO_MODES)[number] {
  return [values, becomes, becomes, becomes, becomes];
}

const TORCHAO: readonly BlockVectors[] = (["floor", "rceil", "ceil", "even"] as const).map(
  (rounding, mode) => ({
    source: `torchao mx_tensor.to_mx(ScaleCalculationMode.${rounding.toUpperCase()}), run on CPU`,
    scheme: { ...schemes.mxfp8, rounding },
    blocks: TORCHAO_MODES.map((row) => {
      const [scale, ...codes] = row[mode + 1] as readonly number[];
      return { values: row[0], scale: scale as number, codes };
    }),
  }),
);

const SCALE_RULES: readonly BlockVectors[] = [
  {
    source:
      "the scale of 1.75 * 2^k + 1 ulp by bits (DeepGEMM, torchao RCEIL); ceil(log2()) in float32 is one less",
    scheme: schemes.mxfp8,
    blocks: [
      { values: [0x3fe00001], scale: 0x78, codes: [0x76] },
      { values: [0x2be00001], scale: 0x50, codes: [0x76] },
      { values: [0x04600001], scale: 0x01, codes: [0x76] }, // torchao's float32 product with 1/448 gives 0
    ],
  },
  {
    source: "OCP MX v1.0 section 6.3 at 511.99997; microxcaling's float32 log2 gives one more",
    scheme: schemes.mxfp8Ocp,
    blocks: [{ values: [0x43ffffff], scale: 0x7f, codes: [0x7e] }],
  },
  {
    source: "compressed-tensors MXFP8, which rounds amax in the precision of FP4",
    scheme: schemes.mxfp8CompressedTensors,
    blocks: [
      { values: [0x43e00000], scale: 0x80, codes: [0x76] }, // 448: one more than RCEIL
      { values: [0x43dfffff], scale: 0x7f, codes: [0x7e] },
    ],
  },
  {
    source: "RCEIL with E5M2 elements at 57344 and one ulp above (exact rule; torchao agrees)",
    scheme: schemes.mxfp8E5m2,
    blocks: [
      { values: [0x47600000], scale: 0x7f, codes: [0x7b] },
      { values: [0x47600001], scale: 0x80, codes: [0x77] },
      { values: [0x07e00001], scale: 0x01, codes: [0x77] },
    ],
  },
  {
    source: "transformers FineGrainedFP8: the scale of a zero block is 1",
    scheme: schemes.deepseekWeight,
    blocks: [{ values: [0, 0x80000000], scale: 0x7f, codes: [0x00, 0x80] }],
  },
];

export const BLOCKS: readonly BlockVectors[] = [...DEEPSEEK, ...TORCHAO, ...SCALE_RULES];

/**
 * The smallest UE8M0 byte not below a float32 given as bits: torchao `_f32_to_e8m0_rceil` and DeepGEMM
 * `ceil_to_ue8m0` where it does not clamp. Seen through the mode CEIL of a block with amax = that * 2^emax.
 */
export const E8M0_CEIL: readonly (readonly [bits: number, byte: number])[] = [
  [0x00000001, 0x00],
  [0x00400000, 0x00],
  [0x00400001, 0x01],
  [0x007fffff, 0x01],
  [0x00800000, 0x01],
  [0x00800001, 0x02],
  [0x3f7fffff, 0x7f],
  [0x3f800000, 0x7f],
  [0x3f800001, 0x80],
  [0x7f000000, 0xfe],
];

/**
 * Scale bytes from and to which every finite code dequantises without
 * an error; beyond them some code has one.
 */
export const EXACT_RANGES: readonly (readonly [
  format: Format,
  type: "f32" | "bf16" | "f16",
  first: number,
  last: number,
])[] = [
  // Found by dequantising every code with every byte in torch 2.13.
  ["e4m3", "f32", 0, 246],
  ["e4m3", "bf16", 3, 246],
  ["e4m3", "f16", 112, 134],
  ["e5m2", "f32", 0, 239],
  ["e5m2", "bf16", 10, 239],
  ["e5m2", "f16", 119, 127],
];

/** One code under one scale byte, to the bits of the type asked for. E4M3. */
export const PRODUCTS: readonly (readonly [
  code: number,
  scale: number,
  type: "f32" | "bf16" | "f16",
  bits: number | "NaN",
])[] = [
  // OCP MX v1.0 section 5.4.1; Transformer Engine test_mxfp8_dequantize_extreme_scales.py
  [0x38, 0x00, "f32", 0x00400000],
  [0x38, 0x00, "bf16", 0x0040],
  [0x38, 0xff, "f32", "NaN"],
  [0x00, 0xff, "f32", "NaN"],
  [0x38, 0xfe, "f32", 0x7f000000],
  [0x7e, 0xfe, "f32", 0x7f800000],
  [0x7e, 0xfe, "bf16", 0x7f80],
  // A product in float32 and one rounding; torchao multiplies in f16 and gets 0.
  [0x7e, 102, "f16", 0x00e0],
];
