import { BlockscaleError } from "../../tensor/errors.ts";
import {
  compressedTensors,
  compressedTensorsMixed,
  compressedTensorsMxfp4,
  compressedTensorsNvfp4,
} from "./compressed-tensors.ts";
import { deepseekV3, deepseekV4, deepseekV4Fp4, deepseekV31 } from "./deepseek.ts";
import type { Dialect, DialectName } from "./dialect.ts";
import { gptOss } from "./gpt-oss.ts";
import { modelopt, modeloptNvfp4 } from "./modelopt.ts";
import { mxfp8 } from "./mxfp8.ts";
import { quarkMxfp6 } from "./quark.ts";

export type { Dialect, DialectName, NamedShape, OutputText, StoredPart, WeightStorage } from "./dialect.ts";
export { partName } from "./dialect.ts";

/** Every dialect that can be written, by name. */
export const dialects: Readonly<Record<DialectName, Dialect>> = {
  "deepseek-v3": deepseekV3,
  "deepseek-v3.1": deepseekV31,
  "deepseek-v4": deepseekV4,
  mxfp8,
  "compressed-tensors": compressedTensors,
  modelopt,
  "compressed-tensors-mxfp4": compressedTensorsMxfp4,
  "compressed-tensors-nvfp4": compressedTensorsNvfp4,
  "compressed-tensors-mixed": compressedTensorsMixed,
  "modelopt-nvfp4": modeloptNvfp4,
  "quark-mxfp6": quarkMxfp6,
  "deepseek-v4-fp4": deepseekV4Fp4,
  "gpt-oss": gptOss,
};

/** The first dialect that stores several formats, and all of these; `undefined` if none does. */
export function dialectOfFormats(formats: readonly string[]): Dialect | undefined {
  return Object.values(dialects).find(
    (dialect) =>
      dialect.formats !== undefined && formats.every((name) => Object.hasOwn(dialect.formats!, name)),
  );
}

/**
 * The dialect of a name.
 * @throws BlockscaleError `option`: no such dialect
 */
export function dialectOf(name: string): Dialect {
  if (!Object.hasOwn(dialects, name)) {
    throw new BlockscaleError("option", {
      where: "to",
      expected: Object.keys(dialects).join(", "),
      got: JSON.stringify(name),
      fix: "Choose one of these names.",
    });
  }
  return dialects[name as DialectName];
}
