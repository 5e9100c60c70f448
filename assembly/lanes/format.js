"use strict";
var __decorate = (this && this.__decorate) || function (decorators, target, key, desc) {
    var c = arguments.length, r = c < 3 ? target : desc === null ? desc = Object.getOwnPropertyDescriptor(target, key) : desc, d;
    if (typeof Reflect === "object" && typeof Reflect.decorate === "function") r = Reflect.decorate(decorators, target, key, desc);
    else for (var i = decorators.length - 1; i >= 0; i--) if (d = decorators[i]) r = (c < 3 ? d(r) : c > 3 ? d(target, key, r) : d(target, key)) || r;
    return c > 3 && r && Object.defineProperty(target, key, r), r;
};
Object.defineProperty(exports, "__esModule", { value: true });
exports.Format = exports.E5M2 = exports.E4M3 = void 0;
/** OCP OFP8 E4M3 ("fn"): no Inf, NaN is 0x7F and 0xFF only. */
class E4M3 {
}
exports.E4M3 = E4M3;
/** OCP OFP8 E5M2: IEEE-like, Inf is 0x7C. */
class E5M2 {
}
exports.E5M2 = E5M2;
/** What the number formats are, as compile-time facts: a new format is one more answer to each question. */
class Format {
    /** Stored mantissa bits. */
    static mantissa() {
        return idof() == idof() ? 3 : 2;
    }
    /** Exponent bias: the exponent field of 1.0. */
    static bias() {
        return idof() == idof() ? 7 : 15;
    }
    /** Exponent of the largest finite value, which is 1.75 * 2^emax in both formats. */
    static emax() {
        return idof() == idof() ? 8 : 15;
    }
    /** Code of the largest finite value; what lies above is NaN, or Inf and NaN. */
    static top() {
        return idof() == idof() ? 0x7e : 0x7b;
    }
    /** The largest finite value. */
    static max() {
        return idof() == idof() ? 448 : 57344;
    }
}
exports.Format = Format;
__decorate([
    inline
], Format, "mantissa", null);
__decorate([
    inline
], Format, "bias", null);
__decorate([
    inline
], Format, "emax", null);
__decorate([
    inline
], Format, "top", null);
__decorate([
    inline
], Format, "max", null);
