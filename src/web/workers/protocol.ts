import type { DialectName } from "../../checkpoint/dialects/index.ts";
import type { Override } from "../../checkpoint/dialects/overrides.ts";
import type { BlockPlace, BlockValues } from "../../checkpoint/measure/block.ts";
import type { InspectedTensor, Inspection } from "../../checkpoint/measure/inspect.ts";
import type { Sample } from "../../checkpoint/measure/sample.ts";
import type { Survey } from "../../checkpoint/measure/survey.ts";
import type { PlannedTensor } from "../../checkpoint/plan/plan.ts";
import type { Precision } from "../../engine/precision.ts";
import type { ReportedScales } from "../../report/report.ts";
import type { ValueType } from "../../tensor/tensor.ts";
import type { Problem } from "./problem.ts";

/** A file that the user chose, by its path inside the folder chosen. */
export interface NamedFile {
  readonly path: string;
  readonly file: File;
}

/** A file on a web server. */
export interface NamedUrl {
  readonly path: string;
  readonly url: string;
  /** Sent to this server alone, and never stored. */
  readonly token?: string;
}

/** One file of a checkpoint, wherever it is. A record that can be cloned to every worker. */
export type NamedSource = NamedFile | NamedUrl;

/**
 * The origin of a checkpoint: files that the page holds, or a place on a server. That is the URL of a
 * .safetensors file, or a repository of the model hub by its address or as owner/name.
 */
export type ChosenCheckpoint =
  | { readonly kind: "files"; readonly name: string; readonly files: readonly NamedFile[] }
  | { readonly kind: "place"; readonly place: string; readonly token: string };

/** What the page is to do with a checkpoint. */
export type ConversionChoice = {
  /** Patterns and single names, as `planQuantize` takes them. */
  readonly include: readonly string[];
  readonly exclude: readonly string[];
} & (
  | { readonly action: "quantize"; readonly to: DialectName; readonly overrides: readonly Override[] }
  | { readonly action: "dequantize"; readonly dtype: ValueType }
);

/**
 * Facts of a checkpoint from its headers. Its tensors may be so many that the page asks for them separately.
 */
export interface CheckpointFacts {
  /** What to call it. */
  readonly name: string;
  readonly inspection: Omit<Inspection, "tensors">;
  readonly tensors: number;
  /** For each tensor, how many come before it in the order of names, with their numbers taken as numbers. */
  readonly nameOrders: Uint32Array;
  /** Whether missing scales were taken as 1, so that the tensors can be shown. */
  readonly missingScaleIsOne: boolean;
  /** Whether there is a config.json. Without one, no loader sees that the output is quantised. */
  readonly hasConfig: boolean;
  /** Which shard of how many the file is, by its name; `null` where all of them are open. */
  readonly shardNumber: { readonly index: number; readonly of: number } | null;
}

/** Facts of a checkpoint with its tensors. */
export interface InspectedCheckpoint extends Omit<CheckpointFacts, "inspection" | "tensors"> {
  readonly inspection: Inspection;
}

/** What a conversion would do, without its tensors. */
export interface PlanFacts {
  readonly files: readonly { readonly name: string; readonly size: number }[];
  /** Bytes of all output files. */
  readonly size: number;
  readonly tensors: number;
  /** What must be added to config.json by hand, where none is open and the output is quantised. */
  readonly toAdd: string | null;
  /** What readers of the output refuse or read wrong, in English sentences. */
  readonly warnings: readonly string[];
}

/** What a conversion would do. */
export interface PlannedOutput extends Omit<PlanFacts, "tensors"> {
  readonly tensors: readonly PlannedTensor[];
}

/** How long a plan will take. */
export interface TimeEstimate {
  readonly seconds: number;
  /** Bytes a second that the server gave when it was measured; `null` where files are local. */
  readonly bytesPerSecond: number | null;
}

/** The destination of the output. */
export type Target =
  /** A file the user chose. */
  | { readonly kind: "file"; readonly handle: FileSystemFileHandle }
  /** A folder the user chose. */
  | { readonly kind: "folder"; readonly handle: FileSystemDirectoryHandle }
  /** The origin private file system, from where it is downloaded. */
  | { readonly kind: "private" };

/** An output file that was read back and found to be what was written. */
export interface WrittenFile {
  readonly name: string;
  readonly size: number;
  /** XXH64 of the bytes, in hexadecimal. */
  readonly checksum: string;
  /**
   * Set where it is in the origin private file system. A file and not its handle, which WebKit cannot clone.
   */
  readonly file: File | null;
}

/**
 * The output of a run, and the name of its folder in the private storage;
 * `null` where it was written to a place chosen.
 */
export interface FinishedRun {
  readonly id: string | null;
  readonly files: readonly WrittenFile[];
}

/** A finished output that waits in the private storage to be saved. */
export interface UnsavedOutput {
  readonly id: string;
  /** Name of the file, or of the folder of several. */
  readonly name: string;
  /** Time of the end of the run, in milliseconds since 1970. */
  readonly time: number;
  readonly files: readonly WrittenFile[];
}

/** What is in the private storage at the start of a visit. */
export interface StorageState {
  /** Whether an unfinished run was found. Its files are removed. */
  readonly wasCutOff: boolean;
  /** The newest first. */
  readonly unsaved: readonly UnsavedOutput[];
}

/** Smallest, largest, mean and standard deviation of the finite values that were looked at. */
export interface Moments {
  readonly least: number;
  readonly most: number;
  readonly mean: number;
  readonly deviation: number;
  /** Whether all values were looked at. */
  readonly isAll: boolean;
}

/** Statistics and first values of a tensor. */
export interface TensorBasics {
  /** `null` where there are no values, or none that are finite, or their type is not read. */
  readonly moments: Moments | null;
  /** The first values as text, without their scales where these are not read. */
  readonly first: readonly string[];
  /** Whether it can be saved as a file of NumPy. */
  readonly hasNpy: boolean;
}

/** What a report shows of values and scales; `null` where files are on a server and nothing was read. */
export interface ReportSurvey {
  readonly survey: Survey | null;
  readonly scales: ReportedScales | null;
}

/** Bytes of something that is written or read back: those done so far, and all. */
interface BytesDone {
  readonly bytes: number;
  readonly size: number;
}

/** What a run is doing: it makes the output, or reads one file of it back. */
export type RunStep =
  | ({ readonly phase: "convert"; readonly tensor: string } & BytesDone)
  | ({ readonly phase: "verify"; readonly file: string } & BytesDone);

/** How far a run is. */
export interface RunProgress {
  readonly step: RunStep;
  /** Figures of the weights that were finished since the last message. */
  readonly measured: readonly (readonly [name: string, precision: Precision])[];
}

/** What the coordinator of the workers does for the page. Every method is a message and its answer. */
export interface CoordinatorMethods {
  open(chosen: ChosenCheckpoint): Promise<CheckpointFacts>;
  plan(choice: ConversionChoice): Promise<PlanFacts>;
  /** Some tensors of what is open, and of the current plan. */
  inspected(start: number, end: number): Promise<readonly InspectedTensor[]>;
  planned(start: number, end: number): Promise<readonly PlannedTensor[]>;
  /** How long the current plan will take, measured on a few strips of it. */
  estimate(): Promise<TimeEstimate>;
  /** What each scheme would do to a tensor; the empty list asks for the tensor as it is. */
  sample(tensor: string, dialects: readonly DialectName[], whole: boolean): Promise<Sample[]>;
  /** One block under a dialect's scheme, or as it is stored; `null` where there is none. */
  block(tensor: string, dialect: DialectName | null, place: BlockPlace): Promise<BlockValues | null>;
  /** Statistics and first values of a tensor. */
  basics(tensor: string): Promise<TensorBasics>;
  /** A tensor as a file of NumPy; `null` where NumPy has no such type. */
  npy(tensor: string): Promise<Blob | null>;
  /** Samples the values that the current plan converts, for a report; not where files are on a server. */
  survey(): Promise<ReportSurvey>;
  /**
   * Runs the current plan. Resolves when every file has been written, read
   * back and compared. @param name of the output
   */
  run(target: Target, name: string): Promise<FinishedRun>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  cancel(): Promise<void>;
  /**
   * Removes unfinished and saved outputs of closed tabs from the origin private file system, and lists those
   * that are not saved. Fails with `storage` where there is no such file system.
   */
  tidy(): Promise<StorageState>;
  /**
   * Several files of an output as one archive, in a folder of this
   * name, as they are: weights do not compress.
   */
  zip(folder: string, files: readonly WrittenFile[]): Promise<Blob>;
  /** Notes that a finished output was handed to the browser's downloads. */
  saved(id: string): Promise<void>;
  /** Deletes a finished output. */
  remove(id: string): Promise<void>;
}

export type Method = keyof CoordinatorMethods;

/** Page to coordinator. */
export interface Call {
  readonly id: number;
  readonly method: Method;
  readonly args: readonly unknown[];
}

/** Page to coordinator: the strip workers there are, first of all; later, that one of them died. */
export type WorkerPorts = { readonly ports: readonly MessagePort[] } | { readonly lost: string };

/** Coordinator to page: the answer to a call, or the progress of a run. */
export type Reply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly problem: Problem }
  | { readonly progress: RunProgress };
