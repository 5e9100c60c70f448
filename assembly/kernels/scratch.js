"use strict";
var __decorate = (this && this.__decorate) || function (decorators, target, key, desc) {
    var c = arguments.length, r = c < 3 ? target : desc === null ? desc = Object.getOwnPropertyDescriptor(target, key) : desc, d;
    if (typeof Reflect === "object" && typeof Reflect.decorate === "function") r = Reflect.decorate(decorators, target, key, desc);
    else for (var i = decorators.length - 1; i >= 0; i--) if (d = decorators[i]) r = (c < 3 ? d(r) : c > 3 ? d(target, key, r) : d(target, key)) || r;
    return c > 3 && r && Object.defineProperty(target, key, r), r;
};
Object.defineProperty(exports, "__esModule", { value: true });
exports.Scratch = void 0;
/**
 * The kernels' own working memory, in front of the engine's heap: a place for the last few values of a row, padded
 * to a whole vector, and one running maximum per block of a panel.
 */
class Scratch {
    /** Input of a tail: up to 16 values of 4 bytes, the rest zero. */
    static get input() {
        return (__heap_base + 15) & ~15;
    }
    /** Output of a tail. */
    static get output() {
        return Scratch.input + 64;
    }
    /** Running maxima, one v128 a block. */
    static get maxima() {
        return Scratch.output + 64;
    }
    /** How many blocks there is room for; a multiple of four. */
    static get blocks() {
        return 512;
    }
    static get end() {
        return Scratch.maxima + 16 * Scratch.blocks;
    }
    /** Copies the last `bytes` of a row to `input`, followed by zeros. */
    static take(src, bytes) {
        memory.fill(Scratch.input, 0, 64);
        memory.copy(Scratch.input, src, bytes);
        return Scratch.input;
    }
    /** Copies the first `bytes` of `output` to their place. */
    static give(dst, bytes) {
        memory.copy(dst, Scratch.output, bytes);
    }
}
exports.Scratch = Scratch;
__decorate([
    inline
], Scratch, "input", null);
__decorate([
    inline
], Scratch, "output", null);
__decorate([
    inline
], Scratch, "maxima", null);
__decorate([
    inline
], Scratch, "blocks", null);
__decorate([
    inline
], Scratch, "end", null);
