"use strict";
var __decorate = (this && this.__decorate) || function (decorators, target, key, desc) {
    var c = arguments.length, r = c < 3 ? target : desc === null ? desc = Object.getOwnPropertyDescriptor(target, key) : desc, d;
    if (typeof Reflect === "object" && typeof Reflect.decorate === "function") r = Reflect.decorate(decorators, target, key, desc);
    else for (var i = decorators.length - 1; i >= 0; i--) if (d = decorators[i]) r = (c < 3 ? d(r) : c > 3 ? d(target, key, r) : d(target, key)) || r;
    return c > 3 && r && Object.defineProperty(target, key, r), r;
};
Object.defineProperty(exports, "__esModule", { value: true });
exports.Half = exports.F16 = exports.BF16 = exports.F32 = void 0;
const simd_1 = require("./simd");
/** Value types: what the high-precision side of a conversion holds. */
class F32 {
}
exports.F32 = F32;
class BF16 {
}
exports.BF16 = BF16;
class F16 {
}
exports.F16 = F16;
/** bfloat16 and IEEE half precision to and from float32, eight at a time; every conversion to a half rounds to nearest even. */
class Half {
    /** Bytes of one value. */
    static size() {
        return idof() == idof() ? 4 : 2;
    }
    /** bfloat16 or half patterns in 32-bit lanes, upper halves 0, as float32. */
    static widen(h) {
        return idof() == idof() ? i32x4.shl(h, 16) : Half.fromF16(h);
    }
    /**
     * Half patterns in 32-bit lanes to float32. Moved up by 13, the fields are in place and the exponent is short by
     * 112, or by twice that for Inf and NaN. A subnormal m is made as 2^-14 (1 + m / 1024) - 2^-14, exactly.
     */
    static fromF16(h) {
        const rebias = i32x4.splat(112 << 23);
        const magnitude = i32x4.shl(v128.and(h, i32x4.splat(0x7fff)), 13);
        const isSpecial = i32x4.gt_s(magnitude, i32x4.splat(0x0f7fffff));
        const normal = i32x4.add(i32x4.add(magnitude, rebias), v128.and(isSpecial, rebias));
        const subnormal = f32x4.sub(i32x4.add(magnitude, i32x4.splat(113 << 23)), i32x4.splat(113 << 23));
        const isSubnormal = i32x4.lt_s(magnitude, i32x4.splat(1 << 23));
        const sign = i32x4.shl(v128.and(h, i32x4.splat(0x8000)), 16);
        return v128.or(v128.bitselect(subnormal, normal, isSubnormal), sign);
    }
    /** Eight bfloat16 or half values from two vectors of float32. Overflow becomes Inf, NaN stays NaN. */
    static narrow(a, b) {
        if (idof() == idof())
            return simd_1.Simd.high16(Half.roundToBf16(a), Half.roundToBf16(b));
        return i16x8.narrow_i32x4_u(Half.toF16(a), Half.toF16(b));
    }
    /** float32 whose upper half is the nearest bfloat16, ties to even. */
    static roundToBf16(x) {
        const isNan = i32x4.gt_s(v128.and(x, i32x4.splat(0x7fffffff)), i32x4.splat(0x7f800000));
        const odd = v128.and(i32x4.shr_u(x, 16), i32x4.splat(1));
        const bias = i32x4.add(odd, i32x4.splat(0x7fff));
        // A NaN gets its quiet bit instead of a rounding bias that could carry out of its payload.
        return i32x4.add(v128.or(x, v128.and(isNan, i32x4.splat(0x400000))), v128.andnot(bias, isNan));
    }
    /**
     * Half patterns in 32-bit lanes from float32, by the addition that Fp8 explains: M = 2^13 * max(2^e, 2^-14).
     * Magnitudes from 65536 on are Inf already; those from 65520 round up to it by themselves.
     */
    static toF16(x) {
        const bits = v128.and(x, i32x4.splat(0x7fffffff));
        const isNan = i32x4.gt_s(bits, i32x4.splat(0x7f800000));
        const magnitude = i32x4.min_s(bits, i32x4.splat((127 + 16) << 23));
        const power = i32x4.max_s(v128.and(magnitude, i32x4.splat(0x7f800000)), i32x4.splat((127 - 14) << 23));
        const sum = f32x4.add(magnitude, i32x4.add(power, i32x4.splat(13 << 23)));
        // Exponent field << 10 plus the low mantissa bits, less the field of the smallest normal.
        const merged = i32x4.dot_i16x8_s(sum, i32x4.splat(0x80001));
        const code = i32x4.sub(merged, i32x4.splat((127 - 14 + 13) << 10));
        const sign = v128.and(i32x4.shr_u(x, 16), i32x4.splat(0x8000));
        return v128.or(v128.or(code, sign), v128.and(isNan, i32x4.splat(0x200)));
    }
}
exports.Half = Half;
__decorate([
    inline
], Half, "size", null);
__decorate([
    inline
], Half, "widen", null);
__decorate([
    inline
], Half, "fromF16", null);
__decorate([
    inline
], Half, "narrow", null);
__decorate([
    inline
], Half, "roundToBf16", null);
__decorate([
    inline
], Half, "toF16", null);
