import { checkFiles } from "../../io/files.ts";
import type { Source } from "../../io/source.ts";
import { quotedTensor } from "../../safetensors/display.ts";
import type { Dtype } from "../../safetensors/dtype.ts";
import type { Header } from "../../safetensors/header.ts";
import { readHeader } from "../../safetensors/read.ts";
import { isRecord, kindOf } from "../../tensor/checks.ts";
import { BlockscaleError } from "../../tensor/errors.ts";

/** One safetensors file of a checkpoint. */
export interface Shard {
  readonly name: string;
  readonly header: Header;
  /** Size of the whole file in bytes. */
  readonly size: number;
}

/** What config.json says, as far as it could be read. */
export type Config = { readonly [key: string]: unknown };

/** The headers of a checkpoint: all that planning needs. A plain record that can be cloned to a worker. */
export interface Checkpoint {
  readonly shards: readonly Shard[];
  readonly config: Config | null;
  /** `quantization` of ModelOpt's hf_quant_config.json, which counts where config.json tells of none. */
  readonly modeloptConfig?: Config;
}

/** A tensor and the place of its bytes in a file. */
export interface StoredTensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Index of the file among the shards. */
  readonly shard: number;
  /** First byte and one past the last, counted from the start of the file. */
  readonly start: number;
  readonly end: number;
}

/**
 * Reads the headers of one or more safetensors files.
 * @param files sources by name
 * @throws BlockscaleError `format` or `io`; also where two files hold a tensor of one name
 */
export async function readCheckpoint(
  files: ReadonlyMap<string, Source>,
  config: Config | null = null,
): Promise<Checkpoint> {
  checkFiles("readCheckpoint", files);
  const shards: Shard[] = [];
  const owners = new Map<string, string>();
  for (const [name, source] of files) {
    const header = await readHeader(name, source);
    for (const tensor of header.tensors) {
      const owner = owners.get(tensor.name);
      if (owner !== undefined) {
        throw new BlockscaleError("format", {
          where: `${name}: ${quotedTensor(tensor.name)}`,
          expected: "each tensor in one file",
          got: `another one in ${owner}`,
          fix: "Remove the file that does not belong to the checkpoint.",
        });
      }
      owners.set(tensor.name, name);
    }
    shards.push({ name, header, size: source.size });
  }
  return { shards, config };
}

/**
 * Refuses what is no checkpoint, such as the record around it that `openCheckpoint` gives.
 * @throws BlockscaleError `option`
 */
export function checkCheckpoint(where: string, checkpoint: Checkpoint): void {
  if (isRecord(checkpoint) && Array.isArray(checkpoint.shards)) return;
  throw new BlockscaleError("option", {
    where,
    expected: "a checkpoint: { shards, config }",
    got: isRecord(checkpoint)
      ? `an object of ${Object.keys(checkpoint).join(", ") || "nothing"}`
      : kindOf(checkpoint),
    fix: "Pass const { checkpoint } = await openCheckpoint(files).",
  });
}

/** All tensors with the places of their bytes, in the order of the data. */
export function storedTensors(checkpoint: Checkpoint): StoredTensor[] {
  return checkpoint.shards.flatMap(({ header }, shard) =>
    header.tensors.map(({ name, dtype, shape, begin, end }) => ({
      name,
      dtype,
      shape,
      shard,
      start: header.dataStart + begin,
      end: header.dataStart + end,
    })),
  );
}
