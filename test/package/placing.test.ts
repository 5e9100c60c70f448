import { describe, expect, test } from "vitest";
import { linesMatching } from "../support/sources.ts";

/**
 * What touches memory or makes an address: loads and stores of scalars and vectors, with `v128.load8_lane`
 * and its kind; memory.copy, fill, grow and data; casts between numbers and pointers; the end of static data.
 * `memory.size()` is a number that the compiler cannot know, and no access.
 */
const MEMORY = new RegExp(
  [
    String.raw`\bv128\s*\.\s*(load|store)`,
    String.raw`(?<![.\w])(load|store)\s*<`,
    String.raw`\b[if](32|64)\s*\.\s*(load|store)`,
    String.raw`\bmemory\s*\.\s*(?!size\b)`,
    String.raw`\b(changetype|StaticArray|Array|ArrayBuffer|__heap_base|__data_end|heap)\b`,
  ].join("|"),
);

/**
 * What makes or reads a number from the bits of a lane:
 * - masks: v128.and, or, xor, andnot, not, bitselect; any `laneselect`
 * - shifts of lanes: shl, shr_s, shr_u
 * - integer comparison, minimum and maximum of lanes, which order floats by their bits
 * - moves between lanes: swizzle, shuffle, narrow, extend, dot, bitmask, extract_lane, replace_lane
 * - conversions and reinterpretations: convert, trunc, promote, demote, reinterpret
 * - constants: a lane constructor, or a splat of a literal other than 0
 *
 * Adding, multiplying and dividing float lanes is arithmetic, and so is
 * splatting a number that lanes/ has made.
 */
const LANE_BITS = new RegExp(
  [
    String.raw`\bv128\s*\.\s*(and|or|xor|andnot|not|bitselect|any_true)\b`,
    String.raw`\bi(8x16|16x8|32x4|64x2)\s*\.\s*(?!splat|add|sub|mul)\w+`,
    String.raw`\bf(32x4|64x2)\s*\.\s*(?!splat|add|sub|mul|div)\w+`,
    String.raw`\b[if](8x16|16x8|32x4|64x2|32|64)\s*\.\s*splat\s*\(\s*(<\w+>\s*)?[-(]*(0x|0*[1-9])`,
    String.raw`\b[if](8x16|16x8|32x4|64x2)\s*\(`,
    String.raw`\breinterpret\b`,
    String.raw`\b(shuffle|swizzle|laneselect)\b`,
    String.raw`\brelaxed_\w+`,
  ].join("|"),
);

describe("the placing rule", () => {
  test("lanes/ knows no memory", () => {
    expect(linesMatching("assembly/lanes", MEMORY)).toEqual([]);
  });

  test("kernels/ knows no bits", () => {
    expect(linesMatching("assembly/kernels", LANE_BITS)).toEqual([]);
  });

  test("only lanes/simd.ts knows that there is relaxed SIMD", () => {
    const elsewhere = linesMatching("assembly", /ASC_FEATURE_RELAXED_SIMD|relaxed_/).filter(
      (line) => !line.startsWith("assembly/lanes/simd.ts:"),
    );
    expect(elsewhere).toEqual([]);
  });

  test.each([
    "const a = v128.load(src, 16);",
    "store<u8>(dst, x);",
    "v128.store8_lane(dst, v, 0);",
    "memory.copy(a, b, n);",
    "const p = changetype<usize>(x);",
  ])("finds an address: %s", (line) => {
    expect(line).toMatch(MEMORY);
  });

  test.each([
    "v128.and(a, mask)",
    "v128.bitselect(a, b, c)",
    "i32x4.shl(a, 23)",
    "i32x4.min_s(a, b)",
    "i16x8.shr_u(a, 1)",
    "i32x4.splat(0x7fffffff)",
    "i8x16.splat(<i8>(0x80))",
    "i32x4(1, 2, 3, 4)",
    "reinterpret<f32>(bits)",
    "f32x4.max(a, b)",
    "i8x16.narrow_i16x8_u(a, b)",
    "v128.relaxed_madd<f32>(a, b, c)",
  ])("finds bits: %s", (line) => {
    expect(line).toMatch(LANE_BITS);
  });

  test.each([
    "f32x4.div(a, factors)",
    "i32x4.splat(bits)",
    "f32x4.splat(factor)",
    "i32x4.splat(0)",
    "v128.load(src, 16)",
    "length & ~15",
  ])("lets pass: %s", (line) => {
    expect(line).not.toMatch(LANE_BITS);
  });
});
