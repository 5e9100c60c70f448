"use strict";
var __decorate = (this && this.__decorate) || function (decorators, target, key, desc) {
    var c = arguments.length, r = c < 3 ? target : desc === null ? desc = Object.getOwnPropertyDescriptor(target, key) : desc, d;
    if (typeof Reflect === "object" && typeof Reflect.decorate === "function") r = Reflect.decorate(decorators, target, key, desc);
    else for (var i = decorators.length - 1; i >= 0; i--) if (d = decorators[i]) r = (c < 3 ? d(r) : c > 3 ? d(target, key, r) : d(target, key)) || r;
    return c > 3 && r && Object.defineProperty(target, key, r), r;
};
Object.defineProperty(exports, "__esModule", { value: true });
exports.Scale = void 0;
const format_1 = require("./format");
const half_1 = require("./half");
const simd_1 = require("./simd");
/**
 * Scales from the largest magnitude of a block (amax), by integer arithmetic on its float32 bits.
 *
 * Magnitudes compare as integers: below Inf, below NaN. The largest code of both formats is 1.75 * 2^emax, so the exponent
 * of amax / largest, rounded up, is exponent(amax) - emax, and one more if the mantissa is above 1.75. Adding
 * 2^23 - 1 - 0.75 * 2^23 to the bits carries into the exponent in just those cases. No logarithm: ceil(log2(x)) in
 * float32 is one too low for up to 42 values above each power of two.
 */
class Scale {
    /** Added to amax's bits before the exponent is taken; ids of src/wasm/exports.ts. */
    static addend(rounding) {
        switch (rounding) {
            case Scale.FLOOR:
                return 0; // OCP MX v1.0, 6.3
            case Scale.RCEIL:
                return 0x1fffff; // carries if the mantissa is above 1.75: DeepGEMM ceil_to_ue8m0(amax / 448), torchao RCEIL
            case Scale.CEIL:
                return 0x7fffff; // carries unless amax is a power of two: torchao CEIL
            case Scale.EVEN:
                return 1 << (22 - format_1.Format.mantissa()); // half of the element's last place: torchao EVEN
            default:
                return 1 << 21; // EVEN for the one mantissa bit of FP4: compressed-tensors
        }
    }
    static get FLOOR() {
        return 0;
    }
    static get RCEIL() {
        return 1;
    }
    static get CEIL() {
        return 2;
    }
    static get EVEN() {
        return 3;
    }
    // ---- amax
    /** Running maximum of magnitudes, in lanes as wide as the value type. */
    static fold(amax, values, magnitudeMask) {
        const m = v128.and(values, magnitudeMask);
        return idof() == idof() ? i32x4.max_s(amax, m) : i16x8.max_s(amax, m);
    }
    static magnitudeMask(zero) {
        return idof() == idof() ? i32x4.splat(0x7fffffff | zero) : i16x8.splat((0x7fff | zero));
    }
    /** Four running maxima of `fold` to the float32 bits of four amaxes. */
    static amaxOfEach(a, b, c, d) {
        if (idof() == idof())
            return simd_1.Simd.maxOfEach(a, b, c, d);
        const m = simd_1.Simd.maxOfEach(Scale.halves(a), Scale.halves(b), Scale.halves(c), Scale.halves(d));
        return half_1.Half.widen(m);
    }
    static halves(m) {
        return i32x4.max_s(i32x4.extend_low_i16x8_u(m), i32x4.extend_high_i16x8_u(m));
    }
    // ---- scale of four blocks
    /**
     * UE8M0 bytes in 32-bit lanes: exponent(amax + addend) - emax, not below 0. `floors`, `offsets` and `limits` are made
     * below, once for many blocks: the floor keeps the difference from becoming negative, the offset is addend and -emax in one.
     */
    static ue8m0(amax, floors, offsets, limits, zeroScales) {
        const byte = i32x4.shr_u(i32x4.add(i32x4.max_s(amax, floors), offsets), 23);
        const isZero = i32x4.eq(amax, i32x4.splat(0));
        const isNan = i32x4.gt_s(amax, limits);
        return v128.or(v128.bitselect(zeroScales, byte, isZero), i32x4.shr_u(isNan, 24));
    }
    /** The smallest amax that a block is scaled for: the scheme's floor, or what byte 0 covers. */
    static floor(rounding, amaxFloor) {
        return max(amaxFloor, (format_1.Format.emax() << 23) - Scale.addend(rounding));
    }
    static offset(rounding) {
        return Scale.addend(rounding) - (format_1.Format.emax() << 23);
    }
    /** Above this amax a block is NaN: the largest float32, or for EVEN, as in torchao, what does not round to Inf. */
    static limit(rounding) {
        return 0x7f7fffff - (rounding == Scale.EVEN ? Scale.addend(rounding) : 0);
    }
    /** float32 multipliers amax / largest code, never below the smallest normal float32; NaN where amax is not finite. */
    static f32(amax, amaxFloor, zeroScale) {
        const floored = i32x4.max_s(amax, i32x4.splat(amaxFloor));
        const ratio = i32x4.max_s(f32x4.div(floored, f32x4.splat(format_1.Format.max())), i32x4.splat(1 << 23));
        const isZero = i32x4.eq(floored, i32x4.splat(0));
        const scale = v128.bitselect(f32x4.splat(Scale.power(zeroScale)), ratio, isZero);
        return v128.bitselect(i32x4.splat(0x7fc00000), scale, Scale.notFinite(amax));
    }
    static notFinite(amax) {
        return i32x4.gt_s(amax, i32x4.splat(0x7f7fffff));
    }
    /** The low bytes of four 32-bit lanes, lane 0 lowest. */
    static bytes(scales) {
        const narrow = i16x8.narrow_i32x4_u(scales, scales);
        return i32x4.extract_lane(i8x16.narrow_i16x8_u(narrow, narrow), 0);
    }
    // ---- one scale as a number
    /** 2^(byte - 127) as float32: byte 0 is the subnormal 2^-127, 255 is NaN. */
    static power(byte) {
        if (byte == 0)
            return reinterpret(0x00400000);
        return reinterpret(byte == 0xff ? 0x7fc00000 : byte << 23);
    }
    static isNan(scale) {
        return scale != scale;
    }
    /**
     * For a scale byte outside `Fp8.scaleIsNear`: one inside, 96 steps away. Values times `nearFactor` quantised with
     * it give the same codes: the product is exact unless it is below 2^-126, and then its code is 0 either way.
     */
    static nearByte(byte) {
        return byte < 127 ? byte + 96 : byte - 96;
    }
    static nearFactor(byte) {
        return Scale.power(byte < 127 ? 127 + 96 : 127 - 96);
    }
}
exports.Scale = Scale;
__decorate([
    inline
], Scale, "addend", null);
__decorate([
    inline
], Scale, "FLOOR", null);
__decorate([
    inline
], Scale, "RCEIL", null);
__decorate([
    inline
], Scale, "CEIL", null);
__decorate([
    inline
], Scale, "EVEN", null);
__decorate([
    inline
], Scale, "fold", null);
__decorate([
    inline
], Scale, "magnitudeMask", null);
__decorate([
    inline
], Scale, "amaxOfEach", null);
__decorate([
    inline
], Scale, "halves", null);
__decorate([
    inline
], Scale, "ue8m0", null);
__decorate([
    inline
], Scale, "floor", null);
__decorate([
    inline
], Scale, "offset", null);
__decorate([
    inline
], Scale, "limit", null);
__decorate([
    inline
], Scale, "f32", null);
__decorate([
    inline
], Scale, "notFinite", null);
__decorate([
    inline
], Scale, "bytes", null);
__decorate([
    inline
], Scale, "power", null);
__decorate([
    inline
], Scale, "isNan", null);
__decorate([
    inline
], Scale, "nearByte", null);
__decorate([
    inline
], Scale, "nearFactor", null);
