import { shapeNamed } from "../../safetensors/names.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import type { Config } from "./checkpoint.ts";
import { type Block, makers } from "./makers/index.ts";

/** Members of config.json under which multimodal models keep the config of their language model. */
export const NESTED = ["text_config", "llm_config", "language_config"] as const;

/** What the description of a quantisation is called; the second is the older name of compressed-tensors. */
export const QUANTIZATION_KEYS = ["quantization_config", "compression_config"] as const;

/** What the members of a header's `__metadata__` are called that describe a quantisation. */
export const QUANTIZATION_METADATA: ReadonlySet<string> = new Set(["_quantization_metadata"]);

/** Configs of language models, wherever they are: at the top, or nested in those of multimodal models. */
export function configsOf(config: Config | null): Config[] {
  const nested = NESTED.map((key) => config?.[key]);
  return [config, ...nested].filter((found): found is Config => typeof found === "object" && found !== null);
}

/** The quantization_config of a model, at the top or in a nested text_config; `null` where there is none. */
export function quantizationConfig(config: Config | null): Config | null {
  for (const place of configsOf(config)) {
    for (const key of QUANTIZATION_KEYS) {
      const found = place[key];
      if (typeof found === "object" && found !== null) return found as Config;
    }
  }
  return null;
}

/** The largest side of a block that kernels can count with. */
const LARGEST_SIDE = 2 ** 31 - 1;

/**
 * The blocks that config.json names, in the words of whoever made it.
 * @throws BlockscaleError `dialect`: larger than any tensor
 */
export function configuredBlocks(config: Config | null): Block[] {
  const quantization = quantizationConfig(config);
  if (quantization === null) return [];
  const found = makers.flatMap(({ blocks }) => blocks?.(quantization) ?? []);
  return found.filter(isBlock).map((block) => {
    if (block.every((side) => side <= LARGEST_SIDE)) return block;
    throw new BlockscaleError("dialect", {
      where: "config.json: quantization_config",
      expected: "blocks of scales [rows, cols], each side at most 2^31 - 1",
      got: shapeNamed(block),
      fix: "Correct config.json: set the block used, such as [128, 128].",
    });
  });
}

function isBlock(found: unknown): found is Block {
  return Array.isArray(found) && found.length === 2 && found.every((n) => Number.isSafeInteger(n) && n > 0);
}
