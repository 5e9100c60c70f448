import { quotedTensor } from "../../../safetensors/display.ts";
import { BlockscaleError } from "../../../tensor/errors.ts";
import type { Config, StoredTensor } from "../checkpoint.ts";
import { sameShape } from "../grids.ts";
import type { ScaledWeight } from "../weights.ts";
import type { Maker } from "./maker.ts";

/**
 * MXFP6: four codes to three bytes, and a UE8M0 byte for 32 codes of a row. MXFP4 is told from it by the
 * number of bytes, 16 to a scale instead of 24, and is read as that of everybody.
 * @throws BlockscaleError `dialect`: config.json does not tell E2M3 from E3M2, or tells E3M2
 */
function packed(
  codes: StoredTensor,
  byName: ReadonlyMap<string, StoredTensor>,
  quantization: Config | null,
): ScaledWeight | null {
  const { name, dtype, shape } = codes;
  const bytes = shape.at(-1) ?? 0;
  const scales = byName.get(`${name}_scale`);
  if (dtype !== "U8" || shape.length < 2 || bytes === 0 || scales?.dtype !== "U8") return null;
  if (!sameShape(scales.shape, [...shape.slice(0, -1), bytes / 24])) return null;
  const types = sixBitTypes(quantization);
  if (types.length !== 1 || types[0] !== "fp6_e2m3") throw unknownCodes(name, types);
  return {
    kind: "scaled",
    name,
    shape: [...shape.slice(0, -1), (bytes * 4) / 3],
    element: "e2m3",
    codes,
    scales,
    scaleType: "ue8m0",
    block: [1, 32],
    transposed: false,
  };
}

/** The types of six bits that weights have, as config.json tells. */
function sixBitTypes(quantization: Config | null): string[] {
  const {
    global_quant_config: all,
    layer_quant_config: some,
    layer_type_quant_config: kinds,
  } = quantization ?? {};
  const layers = [all, ...Object.values(some ?? {}), ...Object.values(kinds ?? {})] as (
    | Config
    | null
    | undefined
  )[];
  const types = layers.map((layer) => String((layer?.weight as Config | null | undefined)?.dtype));
  return [...new Set(types.filter((type) => type.startsWith("fp6_")))];
}

function unknownCodes(name: string, types: readonly string[]): BlockscaleError {
  return new BlockscaleError("dialect", {
    where: quotedTensor(name),
    expected: "fp6_e2m3 as the only type of six bits in the quantization_config of config.json",
    got: types.length === 0 ? "no such type" : types.join(" and "),
    fix: "Open the folder with config.json. MXFP6 in E3M2 is not read here: make plain weights with AMD Quark.",
  });
}

export const quark: Maker = { name: "AMD Quark", packed };
