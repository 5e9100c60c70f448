"use strict";
var __decorate = (this && this.__decorate) || function (decorators, target, key, desc) {
    var c = arguments.length, r = c < 3 ? target : desc === null ? desc = Object.getOwnPropertyDescriptor(target, key) : desc, d;
    if (typeof Reflect === "object" && typeof Reflect.decorate === "function") r = Reflect.decorate(decorators, target, key, desc);
    else for (var i = decorators.length - 1; i >= 0; i--) if (d = decorators[i]) r = (c < 3 ? d(r) : c > 3 ? d(target, key, r) : d(target, key)) || r;
    return c > 3 && r && Object.defineProperty(target, key, r), r;
};
Object.defineProperty(exports, "__esModule", { value: true });
exports.Simd = void 0;
/**
 * The few v128 operations that differ between builds, and the one trick every hot loop needs.
 * This is the only file that asks which build it is in.
 */
class Simd {
    /**
     * A zero that no optimiser can prove to be one: linear memory has at most 2^16 pages.
     *
     * Binaryen copies a constant vector to every place it is used, and V8 from version 13 on builds such a constant
     * anew each time, inside the loop too (1.3 to 1.9 times slower, measured). A splat of `bits | opaqueZero()`,
     * kept in a local before the loop, stays in a register.
     */
    static opaqueZero() {
        return memory.size() >>> 20;
    }
    /** table[index] per byte; an index with its top bit set gives 0. Other indices must be below 16. */
    static lookup(table, index) {
        // The relaxed form leaves only the indices 16..127 to the engine, and saves an instruction on x86.
        if (ASC_FEATURE_RELAXED_SIMD)
            return i8x16.relaxed_swizzle(table, index);
        return i8x16.swizzle(table, index);
    }
    /** a * b + c; fused or not is up to the engine in the relaxed build, never fused in the others. */
    static madd(a, b, c) {
        if (ASC_FEATURE_RELAXED_SIMD)
            return f32x4.relaxed_madd(a, b, c);
        return f32x4.add(f32x4.mul(a, b), c);
    }
    /** a0 b0 a1 b1 ... of the lower eight bytes. */
    static zipBytesLow(a, b) {
        return i8x16.shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    }
    /** a8 b8 a9 b9 ... of the upper eight bytes. */
    static zipBytesHigh(a, b) {
        return i8x16.shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
    /** a0 b0 a1 b1 ... of the lower four 16-bit lanes. */
    static zip16Low(a, b) {
        return i16x8.shuffle(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    }
    /** a4 b4 a5 b5 ... of the upper four 16-bit lanes. */
    static zip16High(a, b) {
        return i16x8.shuffle(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
    }
    /** The low byte of each 16-bit lane: of a, then of b. */
    static lowBytes(a, b) {
        return i8x16.shuffle(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    }
    /** The high byte of each 16-bit lane: of a, then of b. */
    static highBytes(a, b) {
        return i8x16.shuffle(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    }
    /** The high half of each 32-bit lane: of a, then of b. */
    static high16(a, b) {
        return i16x8.shuffle(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
    }
    /** Lane i is the largest signed lane of the i-th argument. */
    static maxOfEach(a, b, c, d) {
        const ab = i32x4.max_s(i32x4.shuffle(a, b, 0, 4, 1, 5), i32x4.shuffle(a, b, 2, 6, 3, 7));
        const cd = i32x4.max_s(i32x4.shuffle(c, d, 0, 4, 1, 5), i32x4.shuffle(c, d, 2, 6, 3, 7));
        return i32x4.max_s(i64x2.shuffle(ab, cd, 0, 2), i64x2.shuffle(ab, cd, 1, 3));
    }
}
exports.Simd = Simd;
__decorate([
    inline
], Simd, "opaqueZero", null);
__decorate([
    inline
], Simd, "lookup", null);
__decorate([
    inline
], Simd, "madd", null);
__decorate([
    inline
], Simd, "zipBytesLow", null);
__decorate([
    inline
], Simd, "zipBytesHigh", null);
__decorate([
    inline
], Simd, "zip16Low", null);
__decorate([
    inline
], Simd, "zip16High", null);
__decorate([
    inline
], Simd, "lowBytes", null);
__decorate([
    inline
], Simd, "highBytes", null);
__decorate([
    inline
], Simd, "high16", null);
__decorate([
    inline
], Simd, "maxOfEach", null);
