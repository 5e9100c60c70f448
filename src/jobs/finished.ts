import type { OutputText } from "../checkpoint/dialects/index.ts";
import { type FilePlan, type Plan, type Step, tensorsRead } from "../checkpoint/plan/plan.ts";
import { stripsOf } from "../checkpoint/plan/strip.ts";
import { prepare } from "../checkpoint/run/prepare.ts";
import { forEachOf } from "../io/concurrency.ts";
import { mergeReads } from "../io/merged-reads.ts";
import { readRange, type Source } from "../io/source.ts";
import { parseHeader } from "../safetensors/header.ts";
import { beginsAsOutput, type ConversionRun } from "./conversion.ts";
import { sampleHashOf } from "./sample-hash.ts";

/** Bytes at both ends of a copied tensor that are compared with the input. */
const ENDS = 1 << 14;

/** An output as it should be, to compare with what is there. */
export interface Expected {
  readonly plan: Plan;
  readonly documents: readonly OutputText[];
  /** Files carried over, by name. */
  readonly others: ReadonlyMap<string, Source>;
  /** All files that the output is made from. */
  readonly inputs: Iterable<Source>;
}

/**
 * Whether a complete output of this input is already there. Compares the sizes and headers of its files, the
 * first rows of every converted weight, both ends of every copied tensor, and all small files; and checks
 * that no input file is newer. This takes a small part of the time of a conversion.
 * @param found files of the output by name
 * @throws BlockscaleError `io`, `dialect`; what the signal was aborted with
 */
export async function isFinished(
  run: ConversionRun,
  { plan, documents, others, inputs }: Expected,
  found: ReadonlyMap<string, Source>,
): Promise<boolean> {
  const made = plan.files.map((file) => ({ file, source: found.get(file.name) }));
  const times = made.map(({ source }) => modifiedOf(source) ?? Infinity);
  const newest = [...inputs].reduce((time, source) => Math.max(time, modifiedOf(source) ?? 0), 0);
  if (times.some((time) => time < newest)) return false;
  for (const { file, source } of made) if (!(await beginsAsOutput(source, file))) return false;
  for (const { name, text } of documents) {
    const source = found.get(name);
    const wanted = Buffer.from(text);
    if (source?.size !== wanted.length) return false;
    if (!wanted.equals(await readRange(name, source, 0, source.size))) return false;
  }
  for (const [name, source] of others) {
    if (!(await haveSameSamples(name, source, found.get(name)))) return false;
  }
  for (const { file, source } of made) if (!(await holdsSamples(run, file, source!))) return false;
  return true;
}

/** Time of the last change of a file on disk, in milliseconds since 1970. */
function modifiedOf(source: Source | undefined): number | undefined {
  return (source as { modified?: number } | undefined)?.modified;
}

/** Whether two files have the same size and the same samples. */
export async function haveSameSamples(
  name: string,
  source: Source,
  other: Source | undefined,
): Promise<boolean> {
  if (other?.size !== source.size) return false;
  return (await sampleHashOf(name, source)) === (await sampleHashOf(name, other));
}

async function holdsSamples(whole: ConversionRun, file: FilePlan, source: Source): Promise<boolean> {
  const sources = mergeReads(whole.opened.sources, tensorsRead(file));
  const run = { ...whole, opened: { ...whole.opened, sources } };
  const { tensors, dataStart } = parseHeader(file.name, file.header.subarray(8), file.size);
  const begins = new Map(tensors.map(({ name, begin }) => [name, dataStart + begin]));
  let holds = true;
  await forEachOf(file.steps, run.workers.ahead, async (step) => {
    if (!holds) return;
    run.signal.throwIfAborted();
    const samples = step.kind === "copy" ? await ends(step, run) : await firstRows(step, run);
    for (const { tensor, offset, bytes } of samples) {
      const at = begins.get(tensor)! + offset;
      const there = await readRange(file.name, source, at, at + bytes.length);
      if (!Buffer.from(there).equals(bytes)) holds = false;
    }
  });
  return holds;
}

/** Bytes that a tensor of the output has to hold. */
interface TensorSample {
  readonly tensor: string;
  /** Where they are in the tensor. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

async function ends(
  { from }: Extract<Step, { kind: "copy" }>,
  { opened }: ConversionRun,
): Promise<TensorSample[]> {
  const source = opened.sources[from.shard]!;
  const size = from.end - from.start;
  const length = Math.min(ENDS, size);
  const sampleAt = async (offset: number): Promise<TensorSample> => {
    const start = from.start + offset;
    return { tensor: from.name, offset, bytes: await readRange(from.name, source, start, start + length) };
  };
  return [await sampleAt(0), await sampleAt(size - length)];
}

/** The bytes of a converted weight's first strip: codes, or codes and scales; none if it has no elements. */
async function firstRows(
  { conversion, emit, tensors }: Extract<Step, { kind: "convert" }>,
  { opened, workers }: ConversionRun,
): Promise<TensorSample[]> {
  const [strip] = stripsOf(conversion);
  if (strip === undefined || emit === "tensorScale") return [];
  const prepared = await prepare(conversion, opened.sources, workers.convert);
  const { values, scales } = await workers.convert(conversion, strip, { ...prepared, measure: "sample" });
  const made = emit === "both" ? [values, scales] : [emit === "codes" ? values : scales];
  return tensors.map(({ name }, i) => ({ tensor: name, offset: 0, bytes: made[i]! }));
}
