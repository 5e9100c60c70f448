"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.quantize = quantize;
exports.encode = encode;
const fp8_1 = require("../lanes/fp8");
const half_1 = require("../lanes/half");
const scale_1 = require("../lanes/scale");
const simd_1 = require("../lanes/simd");
const dequantize_1 = require("./dequantize");
const scratch_1 = require("./scratch");
const values_1 = require("./values");
/**
 * Elements of a panel: what is read twice, for its scales and for its codes, so it should stay in a cache between the
 * two. One row: 2 KiB of float32 was best at every size from L2 to memory. Many rows: long rows keep the prefetcher going.
 */
const ROW_PANEL = 1024;
const TILE_PANEL = 1 << 19;
/** codes[rows, cols] and one scale per block from values[rows, cols], as `quantize` of src/wasm/exports.ts says. */
function quantize(scaleType, codes, scales, src, rows, cols, blockRows, blockCols, rounding, amaxFloor, zeroScale) {
    assert(blockRows > 0 && blockCols > 0, "a block has rows and columns");
    if (blockRows == 1 && cols % blockCols == 0) {
        // Blocks that end where rows end follow one another as in one long row.
        cols *= rows;
        rows = cols ? 1 : 0;
    }
    const scaleBytes = scaleType == dequantize_1.UE8M0 ? 1 : 4;
    const budget = blockRows == 1 ? ROW_PANEL : TILE_PANEL;
    const panelBlocks = min(max(budget / blockRows / blockCols, 1), scratch_1.Scratch.blocks);
    const panelCols = panelBlocks * blockCols;
    for (let row = 0; row < rows; row += blockRows) {
        const height = min(blockRows, rows - row);
        for (let col = 0; col < cols; col += panelCols) {
            const width = min(panelCols, cols - col);
            const blocks = (width + blockCols - 1) / blockCols;
            const first = row * cols + col;
            for (let r = 0; r < height; r++) {
                foldRow(src + (first + r * cols) * half_1.Half.size(), width, blockCols, r == 0);
            }
            if (scaleType == dequantize_1.UE8M0)
                ue8m0Scales(scales, blocks, rounding, amaxFloor, zeroScale);
            else
                f32Scales(scales, blocks, amaxFloor, zeroScale);
            for (let r = 0; r < height; r++) {
                const at = first + r * cols;
                if (scaleType == dequantize_1.UE8M0)
                    encodeRow(codes + at, src + at * half_1.Half.size(), width, blockCols, scales);
                else
                    divideRow(codes + at, src + at * half_1.Half.size(), width, blockCols, scales);
            }
            scales += blocks * scaleBytes;
        }
    }
}
/** Folds a row of values into the running maxima of the blocks it crosses. */
function foldRow(src, n, blockCols, isFirst) {
    const whole = blockCols & 15 ? 0 : n / blockCols;
    let maxima = scratch_1.Scratch.maxima;
    if (whole)
        foldBlocks(maxima, src, whole, blockCols, isFirst);
    maxima += 16 * whole;
    for (let i = whole * blockCols; i < n; i += blockCols) {
        foldBlock(maxima, src + i * half_1.Half.size(), min(blockCols, n - i), isFirst);
        maxima += 16;
    }
}
/** Folds one row of `blocks` blocks of whole vectors of sixteen values, without a call. */
function foldBlocks(maxima, src, blocks, blockCols, isFirst) {
    const magnitudeMask = scale_1.Scale.magnitudeMask(simd_1.Simd.opaqueZero());
    const blockBytes = blockCols * half_1.Half.size();
    do {
        let amax = isFirst ? i32x4.splat(0) : v128.load(maxima);
        const end = src + blockBytes;
        do {
            amax = scale_1.Scale.fold(amax, v128.load(src), magnitudeMask);
            amax = scale_1.Scale.fold(amax, v128.load(src, 16), magnitudeMask);
            if (idof() == idof()) {
                amax = scale_1.Scale.fold(amax, v128.load(src, 32), magnitudeMask);
                amax = scale_1.Scale.fold(amax, v128.load(src, 48), magnitudeMask);
            }
            src += 16 * half_1.Half.size();
        } while (src < end);
        v128.store(maxima, amax);
        maxima += 16;
    } while (--blocks);
}
/** Folds one row of one block of any width. */
function foldBlock(maxima, src, n, isFirst) {
    const magnitudeMask = scale_1.Scale.magnitudeMask(simd_1.Simd.opaqueZero());
    let amax = isFirst ? i32x4.splat(0) : v128.load(maxima);
    const end = src + n * half_1.Half.size();
    for (; src + 16 <= end; src += 16)
        amax = scale_1.Scale.fold(amax, v128.load(src), magnitudeMask);
    if (src < end)
        amax = scale_1.Scale.fold(amax, v128.load(scratch_1.Scratch.take(src, end - src)), magnitudeMask);
    v128.store(maxima, amax);
}
/** Turns the running maxima into scale bytes, four blocks at a time. */
function ue8m0Scales(dst, blocks, rounding, amaxFloor, zeroScale) {
    const floors = i32x4.splat(scale_1.Scale.floor(rounding, amaxFloor));
    const offsets = i32x4.splat(scale_1.Scale.offset(rounding));
    const limits = i32x4.splat(scale_1.Scale.limit(rounding));
    const zeroScales = i32x4.splat(zeroScale);
    let i = 0;
    do {
        const bytes = scale_1.Scale.bytes(scale_1.Scale.ue8m0(amaxes(i), floors, offsets, limits, zeroScales));
        if (i + 4 <= blocks)
            store(dst + i, bytes);
        else
            for (let k = i; k < blocks; k++)
                store(dst + k, bytes >> (8 * (k - i)));
        i += 4;
    } while (i < blocks);
}
/** Turns the running maxima into float32 multipliers, four blocks at a time. */
function f32Scales(dst, blocks, amaxFloor, zeroScale) {
    for (let i = 0; i < blocks; i += 4) {
        const scales = scale_1.Scale.f32(amaxes(i), amaxFloor, zeroScale);
        v128.store(scratch_1.Scratch.output, scales);
        memory.copy(dst + 4 * i, scratch_1.Scratch.output, 4 * min(4, blocks - i));
    }
}
/** float32 bits of the maxima of blocks i..i+3. */
function amaxes(i) {
    const at = scratch_1.Scratch.maxima + 16 * i;
    return scale_1.Scale.amaxOfEach(v128.load(at), v128.load(at, 16), v128.load(at, 32), v128.load(at, 48));
}
/** codes[n] <- values[n] over 2^(byte - 127), one scale byte per blockCols values. */
function encodeRow(codes, src, n, blockCols, scales) {
    let whole = blockCols & 15 ? 0 : n / blockCols;
    let maxima = scratch_1.Scratch.maxima;
    const end = codes + n;
    do {
        if (whole) {
            const done = encodeBlocks(codes, src, whole, blockCols, scales, maxima);
            codes += done * blockCols;
            src += done * blockCols * half_1.Half.size();
            scales += done;
            maxima += 16 * done;
            whole -= done;
            if (codes == end)
                return;
        }
        // A block that is ragged, or whose scale is NaN or near an end of the range.
        const length = min(blockCols, end - codes);
        const byte = load(scales);
        if (byte == 0xff)
            memory.fill(codes, fp8_1.Fp8.nan(), length);
        else if (fp8_1.Fp8.scaleIsNear(byte))
            encodeBlock(codes, src, length, 1, byte, false);
        else
            encodeBlock(codes, src, length, scale_1.Scale.nearFactor(byte), scale_1.Scale.nearByte(byte), false);
        codes += length;
        src += length * half_1.Half.size();
        scales++;
        maxima += 16;
        if (whole)
            whole--;
    } while (codes < end);
}
/**
 * Encodes blocks of whole vectors of sixteen values, up to one with a scale that `Fp8.round` cannot take; returns how many.
 * There is no call in here: none of the constants has to be saved across one.
 */
function encodeBlocks(codes, src, blocks, blockCols, scales, maxima) {
    const zero = simd_1.Simd.opaqueZero();
    const absMask = fp8_1.Fp8.absMask(zero);
    const exponentMask = fp8_1.Fp8.exponentMask(zero);
    const mergeWeights = fp8_1.Fp8.mergeWeights(zero);
    const topCode = fp8_1.Fp8.topCode(zero);
    const signMask = fp8_1.Fp8.signMask(zero);
    const first = scales;
    const last = scales + blocks;
    do {
        let byte = load(scales);
        if (!fp8_1.Fp8.scaleIsNear(byte)) {
            // Zeros have the same codes at every scale; anything else is left to the caller.
            if (v128.any_true(v128.load(maxima)))
                break;
            byte = 127;
        }
        const bits = fp8_1.Fp8.threshold(byte);
        const threshold = i32x4.splat(bits);
        const lift = i32x4.splat(fp8_1.Fp8.lift(bits));
        const end = codes + blockCols;
        do {
            const a = values_1.Values.load0(src);
            const b = values_1.Values.load1(src);
            const c = values_1.Values.load2(src);
            const d = values_1.Values.load3(src);
            const magnitudes = fp8_1.Fp8.pack(fp8_1.Fp8.round(v128.and(a, absMask), threshold, lift, exponentMask, mergeWeights), fp8_1.Fp8.round(v128.and(b, absMask), threshold, lift, exponentMask, mergeWeights), fp8_1.Fp8.round(v128.and(c, absMask), threshold, lift, exponentMask, mergeWeights), fp8_1.Fp8.round(v128.and(d, absMask), threshold, lift, exponentMask, mergeWeights), topCode);
            v128.store(codes, fp8_1.Fp8.withSigns(magnitudes, a, b, c, d, signMask));
            codes += 16;
            src += 16 * half_1.Half.size();
        } while (codes < end);
        maxima += 16;
    } while (++scales < last);
    return scales - first;
}
/** codes[n] <- values[n] over a float32 multiplier per blockCols values. */
function divideRow(codes, src, n, blockCols, scales) {
    for (let i = 0; i < n; i += blockCols) {
        const length = min(blockCols, n - i);
        const scale = load(scales);
        if (scale_1.Scale.isNan(scale))
            memory.fill(codes + i, fp8_1.Fp8.nan(), length);
        else
            encodeBlock(codes + i, src + i * half_1.Half.size(), length, scale, 127, true);
        scales += 4;
    }
}
/** codes[n] <- (values[n] / factor, or * factor) over 2^(byte - 127): any n, a byte near enough for `Fp8.round`. */
function encodeBlock(codes, src, n, factor, byte, divide) {
    const zero = simd_1.Simd.opaqueZero();
    const absMask = fp8_1.Fp8.absMask(zero);
    const exponentMask = fp8_1.Fp8.exponentMask(zero);
    const mergeWeights = fp8_1.Fp8.mergeWeights(zero);
    const topCode = fp8_1.Fp8.topCode(zero);
    const signMask = fp8_1.Fp8.signMask(zero);
    const threshold = i32x4.splat(fp8_1.Fp8.threshold(byte));
    const lift = i32x4.splat(fp8_1.Fp8.lift(fp8_1.Fp8.threshold(byte)));
    const factors = f32x4.splat(factor);
    const full = codes + (n & ~15);
    if (codes < full)
        do {
            let a = values_1.Values.load0(src);
            let b = values_1.Values.load1(src);
            let c = values_1.Values.load2(src);
            let d = values_1.Values.load3(src);
            if (divide) {
                a = f32x4.div(a, factors);
                b = f32x4.div(b, factors);
                c = f32x4.div(c, factors);
                d = f32x4.div(d, factors);
            }
            else {
                a = f32x4.mul(a, factors);
                b = f32x4.mul(b, factors);
                c = f32x4.mul(c, factors);
                d = f32x4.mul(d, factors);
            }
            const magnitudes = fp8_1.Fp8.pack(fp8_1.Fp8.round(v128.and(a, absMask), threshold, lift, exponentMask, mergeWeights), fp8_1.Fp8.round(v128.and(b, absMask), threshold, lift, exponentMask, mergeWeights), fp8_1.Fp8.round(v128.and(c, absMask), threshold, lift, exponentMask, mergeWeights), fp8_1.Fp8.round(v128.and(d, absMask), threshold, lift, exponentMask, mergeWeights), topCode);
            v128.store(codes, fp8_1.Fp8.withSigns(magnitudes, a, b, c, d, signMask));
            codes += 16;
            src += 16 * half_1.Half.size();
        } while (codes < full);
    const rest = n & 15;
    if (rest) {
        encodeBlock(scratch_1.Scratch.output, scratch_1.Scratch.take(src, rest * half_1.Half.size()), 16, factor, byte, divide);
        scratch_1.Scratch.give(codes, rest);
    }
}
/** codes[n] <- float32[n], unscaled: any value at all, NaN and Inf included. */
function encode(codes, src, n) {
    const zero = simd_1.Simd.opaqueZero();
    const absMask = fp8_1.Fp8.absMask(zero);
    const exponentMask = fp8_1.Fp8.exponentMask(zero);
    const mergeWeights = fp8_1.Fp8.mergeWeights(zero);
    const topCode = fp8_1.Fp8.topCode(zero);
    const signMask = fp8_1.Fp8.signMask(zero);
    const nanMask = fp8_1.Fp8.magnitudeMask(zero);
    const saturation = fp8_1.Fp8.saturation(zero);
    const threshold = i32x4.splat(fp8_1.Fp8.threshold(127) | zero);
    const lift = i32x4.splat(fp8_1.Fp8.lift(fp8_1.Fp8.threshold(127)) | zero);
    const full = codes + (n & ~15);
    if (codes < full)
        do {
            const x0 = v128.load(src);
            const x1 = v128.load(src, 16);
            const x2 = v128.load(src, 32);
            const x3 = v128.load(src, 48);
            const a = v128.and(x0, absMask);
            const b = v128.and(x1, absMask);
            const c = v128.and(x2, absMask);
            const d = v128.and(x3, absMask);
            const magnitudes = fp8_1.Fp8.pack(fp8_1.Fp8.round(i32x4.min_s(a, saturation), threshold, lift, exponentMask, mergeWeights), fp8_1.Fp8.round(i32x4.min_s(b, saturation), threshold, lift, exponentMask, mergeWeights), fp8_1.Fp8.round(i32x4.min_s(c, saturation), threshold, lift, exponentMask, mergeWeights), fp8_1.Fp8.round(i32x4.min_s(d, saturation), threshold, lift, exponentMask, mergeWeights), topCode);
            const withNan = v128.or(magnitudes, fp8_1.Fp8.nanCodes(a, b, c, d, exponentMask, nanMask));
            v128.store(codes, fp8_1.Fp8.withSigns(withNan, x0, x1, x2, x3, signMask));
            codes += 16;
            src += 64;
        } while (codes < full);
    const rest = n & 15;
    if (rest) {
        encode(scratch_1.Scratch.output, scratch_1.Scratch.take(src, 4 * rest), 16);
        scratch_1.Scratch.give(codes, rest);
    }
}
