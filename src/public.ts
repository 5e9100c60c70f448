/**
 * What `blockscale`, `blockscale/external` and `blockscale/js` have in common:
 * everything but the way to load an engine.
 */
export type { QuantizeOut } from "./engine/casts.ts";
export type { Engine } from "./engine/engine.ts";
export type { Precision } from "./engine/precision.ts";
export { cosine, sqnr } from "./engine/precision.ts";
export type { Int8Activations } from "./products/activations.ts";
export type { PlainWeights } from "./products/pack-integers.ts";
export type { PackedWeights, PackOptions } from "./products/packed.ts";
export type { GemmActivations, GemmOptions, Layout, LeftOperand, Matrix } from "./products/products.ts";
export type { ResidentMatrix } from "./products/resident.ts";
export type { ErrorCode, Fault } from "./tensor/errors.ts";
export { BlockscaleError } from "./tensor/errors.ts";
export { bf16, f16 } from "./tensor/halves.ts";
export type { Rounding, Scheme, SchemeName } from "./tensor/schemes.ts";
export { schemes } from "./tensor/schemes.ts";
export type { BlockScaled, Float16Values, Format, HalfValues, Values, ValueType } from "./tensor/tensor.ts";
