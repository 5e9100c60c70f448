/** What `blockscale`, `blockscale/external` and `blockscale/js` have in common: everything but the way to load an engine. */
export type { Engine, QuantizeOut } from "./engine.ts";
export type { ErrorCode, Fault } from "./errors.ts";
export { BlockscaleError } from "./errors.ts";
export type { GemmOptions, Layout, LeftOperand, Matrix } from "./gemm.ts";
export type { PackedWeights, PackOptions } from "./pack.ts";
export type { Precision } from "./precision.ts";
export { cosine, sqnr } from "./precision.ts";
export type { Size } from "./scale-layouts.ts";
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
