import { BlockscaleError } from "../errors.ts";
import { byteLength, type Dtype } from "../safetensors/dtype.ts";
import { serializeHeader, type TensorSpec } from "../safetensors/header.ts";
import { tensorNamed } from "../safetensors/names.ts";
import type { Scheme } from "../scheme.ts";
import type { Checkpoint, Place } from "./checkpoint.ts";
import { arrangeGroups, type Group } from "./layout.ts";
import type { PlainWeight, ScaledWeight } from "./weights.ts";

/** A weight to be stored as block-scaled codes. */
export interface ScaledTarget {
  readonly kind: "scaled";
  readonly scheme: Scheme;
  readonly scaleDtype: Dtype;
}

/** A weight to be stored as plain values. */
export interface PlainTarget {
  readonly kind: "plain";
  readonly dtype: "F32" | "BF16" | "F16";
}

/** A weight to be converted, with all that a worker needs to know of it. */
export interface Conversion {
  readonly from: PlainWeight | ScaledWeight;
  readonly into: ScaledTarget | PlainTarget;
}

/** One entry of an output file, in the order of its bytes. Steps are plain records: they can be cloned to workers. */
export type Step =
  | { readonly kind: "copy"; readonly tensors: readonly TensorSpec[]; readonly from: Place }
  | {
      readonly kind: "convert";
      readonly tensors: readonly TensorSpec[];
      readonly conversion: Conversion;
      /** Codes followed by scales; or one of them alone, where their alignment asks for different places. */
      readonly emit: "both" | "codes" | "scales";
    };

/** What becomes of one logical tensor. */
export interface PlannedTensor {
  readonly name: string;
  /** Index of the shard it comes from. */
  readonly shard: number;
  readonly action: "copy" | "quantize" | "dequantize" | "requantize" | "drop";
  /** Why it is copied or dropped; `null` where it is converted. */
  readonly reason: string | null;
  readonly shape: readonly number[];
  readonly before: StoredAs;
  readonly after: StoredAs;
}

/** How a logical tensor is stored: dtype and bytes of values or codes, scales included in the bytes. */
export interface StoredAs {
  readonly dtype: Dtype | null;
  readonly bytes: number;
}

/** One output file: its first bytes, and what follows them. */
export interface FilePlan {
  readonly name: string;
  /** Length and header, ready to be written. */
  readonly header: Uint8Array;
  /** Of the whole file, in bytes: known before anything is read. */
  readonly size: number;
  readonly steps: readonly Step[];
}

/** A conversion that has been thought through and not yet begun: a plain record. */
export interface Plan {
  readonly files: readonly FilePlan[];
  /** In the order of the input's data. */
  readonly tensors: readonly PlannedTensor[];
}

/** One logical tensor with the steps that write it; none where it is dropped. */
export interface Decision {
  readonly planned: PlannedTensor;
  readonly steps: readonly Step[];
}

/**
 * Lays decisions out as files: each tensor goes into the file of the shard it came from.
 * @throws BlockscaleError `format`: two output tensors of one name
 */
export function layOut(checkpoint: Checkpoint, decisions: readonly Decision[]): Plan {
  const files = checkpoint.shards.map(({ name, header }, shard): FilePlan => {
    const steps = decisions.flatMap(({ planned, steps }) =>
      planned.shard === shard ? steps.flatMap(splitOdd) : [],
    );
    const ordered = arrangeGroups<Step & Group>(steps);
    const tensors = ordered.flatMap((step) => step.tensors);
    const { bytes, header: written } = serializeHeader(`${name} (output)`, tensors, header.metadata);
    return { name, header: bytes, size: bytes.length + (written.tensors.at(-1)?.end ?? 0), steps: ordered };
  });
  refuseTwins(files);
  return { files, tensors: decisions.map(({ planned }) => planned) };
}

/** A name that would appear in two output files, or twice in one. */
function refuseTwins(files: readonly FilePlan[]): void {
  const owners = new Map<string, string>();
  for (const { name: file, steps } of files) {
    for (const { name } of steps.flatMap((step) => step.tensors)) {
      const owner = owners.get(name);
      if (owner !== undefined) {
        throw new BlockscaleError("dialect", {
          where: `${file}: ${tensorNamed(name)}`,
          expected: "a name that is free for scales",
          got: `a tensor of that name in ${owner}`,
          fix: "Choose another dialect, or exclude the weight.",
        });
      }
      owners.set(name, file);
    }
  }
}

/**
 * Codes of an odd number of bytes would leave the float32 scales behind them misaligned: such a weight is converted
 * twice, once for its scales and once for its codes, so that both can be placed freely.
 */
function splitOdd(step: Step): Step[] {
  if (step.kind !== "convert" || step.tensors.length < 2) return [step];
  const [codes, scales] = step.tensors as [TensorSpec, TensorSpec];
  if (scales.dtype !== "F32" || byteLength(codes.dtype, codes.shape)! % 4 === 0) return [step];
  return [
    { ...step, tensors: [scales], emit: "scales" },
    { ...step, tensors: [codes], emit: "codes" },
  ];
}
