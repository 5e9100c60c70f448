/**
 * Block-scaled FP8 tensors in WebAssembly: quantise, dequantise, and convert checkpoints, with the same bits
 * in every runtime.
 * @module
 */
export type { Engine, QuantizeOut } from "./engine.ts";
export type { ErrorCode, Fault } from "./errors.ts";
export { BlockscaleError } from "./errors.ts";
export type { GemmOptions, Layout, LeftOperand, Matrix } from "./gemm.ts";
export type { LoadOptions } from "./load.ts";
export { load } from "./load.ts";
export type { PackedWeights, PackOptions } from "./pack.ts";
export type { Precision } from "./precision.ts";
export { cosine, sqnr } from "./precision.ts";
export {
  fromMnMajor,
  packScales,
  swizzleScales,
  toMnMajor,
  unpackScales,
  unswizzleScales,
} from "./scale-layouts.ts";
export type { Rounding, Scheme, SchemeName } from "./scheme.ts";
export { schemes } from "./scheme.ts";
export type { BlockScaled, Float16Values, Format, HalfValues, Values, ValueType } from "./tensor.ts";
export { bf16, f16 } from "./tensor.ts";
export type { Variant } from "./wasm/binary.ts";
export type { WasmSource } from "./wasm/module.ts";
