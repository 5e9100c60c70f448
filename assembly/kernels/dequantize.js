"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.UE8M0 = void 0;
exports.dequantize = dequantize;
exports.decode = decode;
const fp8_1 = require("../lanes/fp8");
const half_1 = require("../lanes/half");
const scale_1 = require("../lanes/scale");
const simd_1 = require("../lanes/simd");
const scratch_1 = require("./scratch");
const values_1 = require("./values");
/** Scale types; ids of src/wasm/exports.ts. */
exports.UE8M0 = 0;
/** dst[rows, cols] <- codes[rows, cols] times one scale per block, as `dequantize` of src/wasm/exports.ts says. */
function dequantize(scaleType, dst, codes, scales, rows, cols, blockRows, blockCols) {
    assert(blockRows > 0 && blockCols > 0, "a block has rows and columns");
    if (blockRows == 1 && cols % blockCols == 0) {
        // Blocks that end where rows end follow one another as in one long row.
        cols *= rows;
        rows = cols ? 1 : 0;
    }
    const scaleRowBytes = ((cols + blockCols - 1) / blockCols) * (scaleType == exports.UE8M0 ? 1 : 4);
    let untilNext = blockRows;
    for (let row = 0; row < rows; row++) {
        if (scaleType == exports.UE8M0)
            dequantizeRow(dst, codes, cols, blockCols, scales);
        else
            multiplyRow(dst, codes, cols, blockCols, scales);
        dst += cols * half_1.Half.size();
        codes += cols;
        if (--untilNext == 0) {
            untilNext = blockRows;
            scales += scaleRowBytes;
        }
    }
}
/** dst[n] <- codes[n] times 2^(byte - 127), one scale byte per blockCols codes. */
function dequantizeRow(dst, codes, n, blockCols, scales) {
    let whole = blockCols & 15 ? 0 : n / blockCols;
    const end = codes + n;
    do {
        if (whole) {
            const done = dequantizeBlocks(dst, codes, whole, blockCols, scales);
            codes += done * blockCols;
            dst += done * blockCols * half_1.Half.size();
            scales += done;
            whole -= done;
            if (codes == end)
                return;
        }
        // A block that is ragged, or whose scale makes results that are not normal float32.
        const length = min(blockCols, end - codes);
        multiplyBlock(dst, codes, length, scale_1.Scale.power(load(scales)));
        codes += length;
        dst += length * half_1.Half.size();
        scales++;
        if (whole)
            whole--;
    } while (codes < end);
}
/**
 * Decodes blocks of whole vectors of sixteen codes, up to one with a scale that is not plain; returns how many.
 * There is no call in here: none of the constants has to be saved across one.
 */
function dequantizeBlocks(dst, codes, blocks, blockCols, scales) {
    const zero = simd_1.Simd.opaqueZero();
    const magnitudeMask = fp8_1.Fp8.magnitudeMask(zero);
    const one = fp8_1.Fp8.one(zero);
    const normalIndex = fp8_1.Fp8.normalIndex(zero);
    const specialOffset = fp8_1.Fp8.specialOffset(zero);
    const placeMask = fp8_1.Fp8.placeMask(zero);
    const empty = i32x4.splat(zero);
    const first = scales;
    const last = scales + blocks;
    do {
        let byte = load(scales);
        if (!fp8_1.Fp8.scaleIsPlain(byte)) {
            // Zeros are zeros at every scale but NaN; anything else is left to the caller.
            if (byte == 0xff || !areZero(codes, blockCols, magnitudeMask))
                break;
            byte = 127;
        }
        const addends = fp8_1.Fp8.addends(fp8_1.Fp8.corrections(), byte);
        const tableLow = simd_1.Simd.lowBytes(addends, fp8_1.Fp8.specials());
        const tableHigh = simd_1.Simd.highBytes(addends, fp8_1.Fp8.specials());
        const end = codes + blockCols;
        // Loops are tested at the end: V8 11 (Node 20) runs them up to twice as fast as loops tested at the start.
        do {
            const x = v128.load(codes);
            const index = fp8_1.Fp8.index(x, magnitudeMask, one, normalIndex, specialOffset);
            const low = simd_1.Simd.lookup(tableLow, index);
            const high = simd_1.Simd.lookup(tableHigh, index);
            const a = fp8_1.Fp8.place(simd_1.Simd.zipBytesLow(empty, x), simd_1.Simd.zipBytesLow(low, high), placeMask);
            const b = fp8_1.Fp8.place(simd_1.Simd.zipBytesHigh(empty, x), simd_1.Simd.zipBytesHigh(low, high), placeMask);
            if (idof() == idof()) {
                v128.store(dst, a);
                v128.store(dst, b, 16);
            }
            else {
                values_1.Values.store(dst, simd_1.Simd.zip16Low(empty, a), simd_1.Simd.zip16High(empty, a), simd_1.Simd.zip16Low(empty, b), simd_1.Simd.zip16High(empty, b));
            }
            codes += 16;
            dst += 16 * half_1.Half.size();
        } while (codes < end);
    } while (++scales < last);
    return scales - first;
}
/** Whether n codes, a multiple of sixteen, are all 0 or -0. */
function areZero(codes, n, magnitudeMask) {
    let any = v128.load(codes);
    for (let i = 16; i < n; i += 16)
        any = v128.or(any, v128.load(codes + i));
    return !v128.any_true(v128.and(any, magnitudeMask));
}
/** dst[n] <- codes[n] times a float32 multiplier per blockCols codes. */
function multiplyRow(dst, codes, n, blockCols, scales) {
    for (let i = 0; i < n; i += blockCols) {
        multiplyBlock(dst + i * half_1.Half.size(), codes + i, min(blockCols, n - i), load(scales));
        scales += 4;
    }
}
/** dst[n] <- codes[n] times scale, for any scale at all: the product in float32, then rounded to T. */
function multiplyBlock(dst, codes, n, scale) {
    const zero = simd_1.Simd.opaqueZero();
    const magnitudeMask = fp8_1.Fp8.magnitudeMask(zero);
    const one = fp8_1.Fp8.one(zero);
    const normalIndex = fp8_1.Fp8.normalIndex(zero);
    const specialOffset = fp8_1.Fp8.specialOffset(zero);
    const placeMask = fp8_1.Fp8.placeMask(zero);
    const empty = i32x4.splat(zero);
    const addends = fp8_1.Fp8.addends(fp8_1.Fp8.corrections(), 127);
    const tableLow = simd_1.Simd.lowBytes(addends, fp8_1.Fp8.specials());
    const tableHigh = simd_1.Simd.highBytes(addends, fp8_1.Fp8.specials());
    const factor = f32x4.splat(scale);
    const full = codes + (n & ~15);
    if (codes < full)
        do {
            const x = v128.load(codes);
            const index = fp8_1.Fp8.index(x, magnitudeMask, one, normalIndex, specialOffset);
            const low = simd_1.Simd.lookup(tableLow, index);
            const high = simd_1.Simd.lookup(tableHigh, index);
            const a = fp8_1.Fp8.place(simd_1.Simd.zipBytesLow(empty, x), simd_1.Simd.zipBytesLow(low, high), placeMask);
            const b = fp8_1.Fp8.place(simd_1.Simd.zipBytesHigh(empty, x), simd_1.Simd.zipBytesHigh(low, high), placeMask);
            values_1.Values.store(dst, f32x4.mul(simd_1.Simd.zip16Low(empty, a), factor), f32x4.mul(simd_1.Simd.zip16High(empty, a), factor), f32x4.mul(simd_1.Simd.zip16Low(empty, b), factor), f32x4.mul(simd_1.Simd.zip16High(empty, b), factor));
            dst += 16 * half_1.Half.size();
            codes += 16;
        } while (codes < full);
    const rest = n & 15;
    if (rest) {
        multiplyBlock(scratch_1.Scratch.output, scratch_1.Scratch.take(codes, rest), 16, scale);
        scratch_1.Scratch.give(dst, rest * half_1.Half.size());
    }
}
/** dst[n] <- codes[n] as float32, unscaled. */
function decode(dst, codes, n) {
    const one = scratch_1.Scratch.maxima;
    store(one, 127);
    const whole = n & ~15;
    if (whole)
        dequantizeBlocks(dst, codes, 1, whole, one);
    multiplyBlock(dst + 4 * whole, codes + whole, n - whole, 1);
}
