"use strict";
var __decorate = (this && this.__decorate) || function (decorators, target, key, desc) {
    var c = arguments.length, r = c < 3 ? target : desc === null ? desc = Object.getOwnPropertyDescriptor(target, key) : desc, d;
    if (typeof Reflect === "object" && typeof Reflect.decorate === "function") r = Reflect.decorate(decorators, target, key, desc);
    else for (var i = decorators.length - 1; i >= 0; i--) if (d = decorators[i]) r = (c < 3 ? d(r) : c > 3 ? d(target, key, r) : d(target, key)) || r;
    return c > 3 && r && Object.defineProperty(target, key, r), r;
};
Object.defineProperty(exports, "__esModule", { value: true });
exports.Values = void 0;
const half_1 = require("../lanes/half");
/** Loads and stores of sixteen values of type T as four vectors of float32. */
class Values {
    static load0(src) {
        return idof() == idof() ? v128.load(src) : half_1.Half.widen(v128.load_ext(src));
    }
    static load1(src) {
        return idof() == idof() ? v128.load(src, 16) : half_1.Half.widen(v128.load_ext(src, 8));
    }
    static load2(src) {
        return idof() == idof() ? v128.load(src, 32) : half_1.Half.widen(v128.load_ext(src, 16));
    }
    static load3(src) {
        return idof() == idof() ? v128.load(src, 48) : half_1.Half.widen(v128.load_ext(src, 24));
    }
    static store(dst, a, b, c, d) {
        if (idof() == idof()) {
            v128.store(dst, a);
            v128.store(dst, b, 16);
            v128.store(dst, c, 32);
            v128.store(dst, d, 48);
        }
        else {
            v128.store(dst, half_1.Half.narrow(a, b));
            v128.store(dst, half_1.Half.narrow(c, d), 16);
        }
    }
}
exports.Values = Values;
__decorate([
    inline
], Values, "load0", null);
__decorate([
    inline
], Values, "load1", null);
__decorate([
    inline
], Values, "load2", null);
__decorate([
    inline
], Values, "load3", null);
__decorate([
    inline
], Values, "store", null);
