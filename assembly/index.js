"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.heapBase = heapBase;
exports.encode = encode;
exports.decode = decode;
exports.quantize = quantize;
exports.dequantize = dequantize;
/**
 * What the wasm builds export, and the only place where a format id becomes a type.
 * The documentation of each export is in src/wasm/exports.ts.
 */
const dequantize_1 = require("./kernels/dequantize");
const quantize_1 = require("./kernels/quantize");
const scratch_1 = require("./kernels/scratch");
function heapBase() {
    return scratch_1.Scratch.end;
}
function encode(format, dst, src, n) {
    if (format == 0)
        (0, quantize_1.encode)(dst, src, n);
    else
        (0, quantize_1.encode)(dst, src, n);
}
function decode(format, dst, src, n) {
    if (format == 0)
        (0, dequantize_1.decode)(dst, src, n);
    else
        (0, dequantize_1.decode)(dst, src, n);
}
function quantize(format, type, scaleType, codes, scales, src, rows, cols, blockRows, blockCols, rounding, amaxFloor, zeroScale) {
    // biome-ignore format: one instantiation a line
    switch (format * 3 + type) {
        case 0: return (0, quantize_1.quantize)(scaleType, codes, scales, src, rows, cols, blockRows, blockCols, rounding, amaxFloor, zeroScale);
        case 1: return (0, quantize_1.quantize)(scaleType, codes, scales, src, rows, cols, blockRows, blockCols, rounding, amaxFloor, zeroScale);
        case 2: return (0, quantize_1.quantize)(scaleType, codes, scales, src, rows, cols, blockRows, blockCols, rounding, amaxFloor, zeroScale);
        case 3: return (0, quantize_1.quantize)(scaleType, codes, scales, src, rows, cols, blockRows, blockCols, rounding, amaxFloor, zeroScale);
        case 4: return (0, quantize_1.quantize)(scaleType, codes, scales, src, rows, cols, blockRows, blockCols, rounding, amaxFloor, zeroScale);
        default: return (0, quantize_1.quantize)(scaleType, codes, scales, src, rows, cols, blockRows, blockCols, rounding, amaxFloor, zeroScale);
    }
}
function dequantize(format, type, scaleType, dst, codes, scales, rows, cols, blockRows, blockCols) {
    // biome-ignore format: one instantiation a line
    switch (format * 3 + type) {
        case 0: return (0, dequantize_1.dequantize)(scaleType, dst, codes, scales, rows, cols, blockRows, blockCols);
        case 1: return (0, dequantize_1.dequantize)(scaleType, dst, codes, scales, rows, cols, blockRows, blockCols);
        case 2: return (0, dequantize_1.dequantize)(scaleType, dst, codes, scales, rows, cols, blockRows, blockCols);
        case 3: return (0, dequantize_1.dequantize)(scaleType, dst, codes, scales, rows, cols, blockRows, blockCols);
        case 4: return (0, dequantize_1.dequantize)(scaleType, dst, codes, scales, rows, cols, blockRows, blockCols);
        default: return (0, dequantize_1.dequantize)(scaleType, dst, codes, scales, rows, cols, blockRows, blockCols);
    }
}
