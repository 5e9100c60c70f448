import type { DialectName } from "../../checkpoint/dialects/index.ts";

/**
 * Programs that a converted model can be used in, and the dialects that are read there,
 * the usual one first (docs/checkpoints.md).
 */
export const DESTINATIONS = {
  servers: ["deepseek-v3.1", "deepseek-v3", "modelopt", "modelopt-nvfp4"],
  transformers: ["mxfp8", "deepseek-v3.1", "deepseek-v3"],
  compressor: [
    "compressed-tensors",
    "compressed-tensors-nvfp4",
    "compressed-tensors-mxfp4",
    "compressed-tensors-mixed",
  ],
  modelopt: ["modelopt", "modelopt-nvfp4"],
  quark: ["quark-mxfp6"],
  deepseek: ["deepseek-v4", "deepseek-v4-fp4"],
  gptOss: ["gpt-oss"],
} as const satisfies Readonly<Record<string, readonly DialectName[]>>;

/** The dialect that wants more than its name: the format of each weight. */
export const MIXED = "compressed-tensors-mixed" satisfies DialectName;

export type Destination = keyof typeof DESTINATIONS;

export const destinationNames = Object.keys(DESTINATIONS) as Destination[];

/** Whether a dialect is read at a destination. */
export function isReadAt(destination: Destination, dialect: DialectName): boolean {
  return (DESTINATIONS[destination] as readonly DialectName[]).includes(dialect);
}

/** Whether the page offers a dialect. */
export function isOffered(name: string): name is DialectName {
  return destinationNames.some((destination) => isReadAt(destination, name as DialectName));
}

/** What the name of a file in a dialect ends with. "deepseek" would read as the model. */
export function suffixOf(dialect: DialectName): string {
  if (!dialect.startsWith("deepseek")) return dialect;
  return dialect.endsWith("fp4") ? "fp4" : "fp8";
}

/** The first destination that reads a dialect. */
export function destinationOf(dialect: DialectName): Destination {
  return destinationNames.find((name) => isReadAt(name, dialect)) ?? "servers";
}

/** Whether vLLM reads a dialect: for all models, or for the models that the dialect is made for. */
export function isReadByVllm(dialect: DialectName): boolean {
  return (["servers", "compressor", "quark", "deepseek", "gptOss"] as const).some((name) =>
    isReadAt(name, dialect),
  );
}
