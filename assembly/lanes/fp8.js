"use strict";
var __decorate = (this && this.__decorate) || function (decorators, target, key, desc) {
    var c = arguments.length, r = c < 3 ? target : desc === null ? desc = Object.getOwnPropertyDescriptor(target, key) : desc, d;
    if (typeof Reflect === "object" && typeof Reflect.decorate === "function") r = Reflect.decorate(decorators, target, key, desc);
    else for (var i = decorators.length - 1; i >= 0; i--) if (d = decorators[i]) r = (c < 3 ? d(r) : c > 3 ? d(target, key, r) : d(target, key)) || r;
    return c > 3 && r && Object.defineProperty(target, key, r), r;
};
Object.defineProperty(exports, "__esModule", { value: true });
exports.Fp8 = void 0;
const format_1 = require("./format");
/**
 * FP8 codes to and from wider floats. All of it is integer arithmetic but for one addition in `round`, and nothing
 * depends on the data: subnormal codes cost what others cost, and no operand is ever a denormal float32.
 *
 * **Decoding** goes through bfloat16, which holds every code times every power of two in range exactly.
 * Moved left until its mantissa sits at the top of bfloat16's, a normal code is right but for its exponent, which is
 * too small by K = (scale byte - bias) << 7. So `code << shift` plus an addend from a 16-entry table is the answer:
 *
 *   index -1         code 0          0 (the lookup gives 0 for an index with its top bit set)
 *   index 0..        subnormal m     K + what turns m << shift into the normalised pattern
 *   index ..7        normal          K
 *   index 8..        Inf, NaN        lifts the exponent field to all ones, whatever the scale
 *
 * This is exact while every result is a normal bfloat16: `scaleIsPlain`.
 *
 * **Encoding** adds to |x| a power of two M = 2^(23 - mantissa) * max(2^exponent(x), smallest normal value): the sum's last
 * place is exactly the spacing of codes near x, so the one float32 addition rounds to nearest even at the right bit,
 * for normal and subnormal results alike. The sum's exponent field and low mantissa bits then hold the code:
 * code = (field - constant) << mantissa | low bits, merged by one multiply-add of 16-bit halves.
 */
class Fp8 {
    /** How far left a code moves to have its mantissa at the top of bfloat16's seven bits. */
    static shift() {
        return 7 - format_1.Format.mantissa();
    }
    // ---- decode
    /** Whether every finite code times 2^(byte - 127) is zero or a normal float32: neither subnormal nor above its range. */
    static scaleIsPlain(byte) {
        // Smallest: 2^(1 - bias - mantissa + byte - 127) >= 2^-126. Largest: 2^(emax + byte - 127) <= 2^127.
        const lowest = format_1.Format.bias() + format_1.Format.mantissa();
        const highest = 254 - format_1.Format.emax();
        return (byte - lowest) <= (highest - lowest);
    }
    /** The addend of subnormal code m without K. Its bfloat16 pattern, seen from K, is (e - mantissa) << 7 plus m with its top bit at bit 7. */
    static correction(m) {
        const e = 31 - clz(m);
        const subnormal = m < 1 << format_1.Format.mantissa();
        return subnormal ? (((e - format_1.Format.mantissa()) << 7) + (m << (7 - e)) - (m << Fp8.shift())) : 0;
    }
    /** Addends of table indices 0..7 for K = 0. */
    static corrections() {
        return i16x8(Fp8.correction(1), Fp8.correction(2), Fp8.correction(3), Fp8.correction(4), Fp8.correction(5), Fp8.correction(6), Fp8.correction(7), 0);
    }
    /** Addends of table indices 0..7 at scale byte `byte`. */
    static addends(corrections, byte) {
        return i16x8.add(corrections, i16x8.splat(((byte - format_1.Format.bias()) << 7)));
    }
    /** Addends of indices 8..15. The field of Inf and NaN codes, all ones or nearly, is lifted to 0xFF. */
    static specials() {
        const field = 0x7f >> format_1.Format.mantissa();
        return i16x8.splat((0x7f80 - (field << 7)));
    }
    /** The constants of `index` and `place`, to be kept in locals before a loop. */
    static magnitudeMask(zero) {
        return i8x16.splat((0x7f | zero));
    }
    static one(zero) {
        return i8x16.splat((1 | zero));
    }
    static normalIndex(zero) {
        const index = (1 << format_1.Format.mantissa()) - 1;
        return i8x16.splat((index | zero));
    }
    static specialOffset(zero) {
        return i8x16.splat(((format_1.Format.top() - 7) | zero));
    }
    /** Sign, and the seven magnitude bits at their place in bfloat16. */
    static placeMask(zero) {
        return i16x8.splat((0x8000 | (0x7f << Fp8.shift()) | zero));
    }
    /** The table index of each code: see the table above. min and max are signed. */
    static index(codes, magnitudeMask, one, normalIndex, specialOffset) {
        const m = v128.and(codes, magnitudeMask);
        return i8x16.max_s(i8x16.min_s(i8x16.sub(m, one), normalIndex), i8x16.sub(m, specialOffset));
    }
    /** Eight bfloat16 results from eight codes in the high bytes of 16-bit lanes, and their addends. */
    static place(codes, addends, placeMask) {
        // The arithmetic shift leaves the sign where it is; the mask clears its copies.
        return i16x8.add(v128.and(i16x8.shr_s(codes, 8 - Fp8.shift()), placeMask), addends);
    }
    // ---- encode
    static exponentMask(zero) {
        return i32x4.splat(0x7f800000 | zero);
    }
    static absMask(zero) {
        return i32x4.splat(0x7fffffff | zero);
    }
    static signMask(zero) {
        return i8x16.splat((0x80 | zero));
    }
    static topCode(zero) {
        return i8x16.splat((format_1.Format.top() | zero));
    }
    /** 16-bit multipliers of `round`: low halves to code position, high halves (exponent field << 7) as they are. */
    static mergeWeights(zero) {
        return i32x4.splat(0x10000 | (1 << Fp8.shift()) | zero);
    }
    /**
     * Whether `round` stays in float32's range at this scale. Downwards: the exponent field of the threshold has to be 1 or
     * more. Upwards: M's exponent is up to 21 above that of amax, which is below 2^(byte - 127 + emax + 1), and 216 leaves
     * room for both formats.
     */
    static scaleIsNear(byte) {
        return (byte - format_1.Format.bias()) <= (216 - format_1.Format.bias());
    }
    /** float32 bits of the smallest normal value at scale 2^(byte - 127). */
    static threshold(byte) {
        return (byte + 1 - format_1.Format.bias()) << 23;
    }
    /**
     * What turns 2^e into M: the exponent goes up, and the low half takes away the constant of the code's exponent,
     * (field of the threshold + up) << mantissa. The constant is even, so rounding to even is not disturbed. It is taken from
     * 2^16: as a signed 16-bit number the low half is then -constant, and the sum's low bits (up to 2^(mantissa + 1)) never carry.
     */
    static lift(threshold) {
        const up = 23 - format_1.Format.mantissa();
        return (up << 23) + 0x10000 - (up << format_1.Format.mantissa()) - (threshold >> up);
    }
    /** Codes << shift in 32-bit lanes, not yet saturated, of four magnitudes (float32 without sign). */
    static round(magnitude, threshold, lift, exponentMask, mergeWeights) {
        const power = i32x4.add(i32x4.max_s(v128.and(magnitude, exponentMask), threshold), lift);
        return i32x4.dot_i16x8_s(f32x4.add(magnitude, power), mergeWeights);
    }
    /** Sixteen saturated codes without sign from four results of `round`. */
    static pack(a, b, c, d, topCode) {
        const low = i16x8.shr_u(i16x8.narrow_i32x4_u(a, b), Fp8.shift());
        const high = i16x8.shr_u(i16x8.narrow_i32x4_u(c, d), Fp8.shift());
        return i8x16.min_u(i8x16.narrow_i16x8_u(low, high), topCode);
    }
    /** Codes with the signs of the sixteen float32 they came from: saturating narrowing keeps the sign bit on top. */
    static withSigns(codes, a, b, c, d, signMask) {
        const signs = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
        return v128.or(codes, v128.and(signs, signMask));
    }
    /** Magnitudes above this float32, 2^(emax + 1), all saturate, so they may be replaced by it. */
    static saturation(zero) {
        return i32x4.splat(((format_1.Format.emax() + 128) << 23) | zero);
    }
    /** 0x7F in the lanes of NaN, 0 elsewhere: NaN has the magnitudes above Inf's. */
    static nanCodes(a, b, c, d, infinity, magnitudeMask) {
        const low = i16x8.narrow_i32x4_s(i32x4.gt_s(a, infinity), i32x4.gt_s(b, infinity));
        const high = i16x8.narrow_i32x4_s(i32x4.gt_s(c, infinity), i32x4.gt_s(d, infinity));
        return v128.and(i8x16.narrow_i16x8_s(low, high), magnitudeMask);
    }
    /** The code of NaN, for blocks that are NaN as a whole. */
    static nan() {
        return 0x7f;
    }
}
exports.Fp8 = Fp8;
__decorate([
    inline
], Fp8, "shift", null);
__decorate([
    inline
], Fp8, "scaleIsPlain", null);
__decorate([
    inline
], Fp8, "correction", null);
__decorate([
    inline
], Fp8, "corrections", null);
__decorate([
    inline
], Fp8, "addends", null);
__decorate([
    inline
], Fp8, "specials", null);
__decorate([
    inline
], Fp8, "magnitudeMask", null);
__decorate([
    inline
], Fp8, "one", null);
__decorate([
    inline
], Fp8, "normalIndex", null);
__decorate([
    inline
], Fp8, "specialOffset", null);
__decorate([
    inline
], Fp8, "placeMask", null);
__decorate([
    inline
], Fp8, "index", null);
__decorate([
    inline
], Fp8, "place", null);
__decorate([
    inline
], Fp8, "exponentMask", null);
__decorate([
    inline
], Fp8, "absMask", null);
__decorate([
    inline
], Fp8, "signMask", null);
__decorate([
    inline
], Fp8, "topCode", null);
__decorate([
    inline
], Fp8, "mergeWeights", null);
__decorate([
    inline
], Fp8, "scaleIsNear", null);
__decorate([
    inline
], Fp8, "threshold", null);
__decorate([
    inline
], Fp8, "lift", null);
__decorate([
    inline
], Fp8, "round", null);
__decorate([
    inline
], Fp8, "pack", null);
__decorate([
    inline
], Fp8, "withSigns", null);
__decorate([
    inline
], Fp8, "saturation", null);
__decorate([
    inline
], Fp8, "nanCodes", null);
__decorate([
    inline
], Fp8, "nan", null);
