import { downloadZip } from "client-zip";
import { type DialectName, dialects } from "../../checkpoint/dialects/index.ts";
import type { BlockPlace, BlockValues } from "../../checkpoint/measure/block.ts";
import { type InspectedTensor, type Inspection, inspect } from "../../checkpoint/measure/inspect.ts";
import type { Sample } from "../../checkpoint/measure/sample.ts";
import { surveyConversions } from "../../checkpoint/measure/survey.ts";
import { quantizedDocuments } from "../../checkpoint/plan/config.ts";
import { planDequantize } from "../../checkpoint/plan/dequantize.ts";
import { type Direction, type OpenedCheckpoint, openCheckpoint } from "../../checkpoint/plan/folder.ts";
import { type OutputFile, outputsOf } from "../../checkpoint/plan/outputs.ts";
import { conversionsOf, type Plan, type PlannedTensor } from "../../checkpoint/plan/plan.ts";
import { planQuantize } from "../../checkpoint/plan/quantize.ts";
import { warningsOf } from "../../checkpoint/plan/warnings.ts";
import { resolve } from "../../checkpoint/read/resolve.ts";
import type { Weight } from "../../checkpoint/read/weights.ts";
import type { Source } from "../../io/source.ts";
import { scalesFound, scalesOf } from "../../report/report.ts";
import { filesOf, openFiles } from "./chosen.ts";
import { measureSpeed, type Speed, secondsFromDisk, secondsFromServer } from "./estimate.ts";
import { fingerprint, refuseChanged } from "./fingerprint.ts";
import type { Pool } from "./pool.ts";
import { PageError } from "./problem.ts";
import type {
  CheckpointFacts,
  ChosenCheckpoint,
  ConversionChoice,
  Estimate,
  FinishedRun,
  NamedSource,
  PlanFacts,
  ReportSurvey,
  RunProgress,
  Session,
  StorageState,
  Target,
  TensorBasics,
  WrittenFile,
} from "./protocol.ts";
import { OutputRun } from "./run.ts";
import { blockOfWeight, sampleWeight } from "./sampling.ts";
import { PrivateStorage } from "./storage.ts";
import { basicsOf, npyOf } from "./tensor-values.ts";

/** The checkpoint that is open. */
interface CurrentCheckpoint {
  readonly files: readonly NamedSource[];
  readonly opened: OpenedCheckpoint;
  readonly tensors: readonly InspectedTensor[];
  readonly fingerprints: ReadonlyMap<string, string>;
  /** Everything that was opened, by path. */
  readonly sources: ReadonlyMap<string, Source>;
  readonly missingScale: "error" | "one";
  /**
   * Speed of files on a server. It is measured once, since a measurement reads a few megabytes.
   */
  served: Speed | null;
  /** The weights by name; `null` until one of them is needed. */
  weights: ReadonlyMap<string, Weight> | null;
}

/** A plan with the small files that go with it. */
interface CurrentPlan {
  readonly choice: ConversionChoice;
  readonly plan: Plan;
  readonly files: readonly OutputFile[];
}

/** The work behind the page, in a worker of its own so that the page never waits. */
export class CheckpointSession implements Session {
  private readonly pool: Pool;
  private readonly onProgress: (progress: RunProgress) => void;
  private readonly storage = new PrivateStorage();
  private current: CurrentCheckpoint | null = null;
  private ready: CurrentPlan | null = null;
  private running: OutputRun | null = null;

  constructor(pool: Pool, onProgress: (progress: RunProgress) => void) {
    this.pool = pool;
    this.onProgress = onProgress;
  }

  async open(chosen: ChosenCheckpoint): Promise<CheckpointFacts> {
    const { name, files } = await filesOf(chosen);
    this.current = null;
    this.ready = null;
    const sources = await openFiles(files);
    const opened = await openCheckpoint(sources);
    const byPath = new Map(files.map((named) => [named.path, named]));
    const shards = opened.checkpoint.shards.map(({ name }) => byPath.get(name)!);
    const { inspection, missingScale } = await lookInside(opened);
    const { tensors, ...facts } = inspection;
    const fingerprints = new Map<string, string>();
    // Files on servers need no fingerprint: their ETag tells of changes.
    for (const named of shards) {
      if ("file" in named) fingerprints.set(named.path, await fingerprint(named));
    }
    this.pool.open(shards);
    const found = { files, sources, opened, tensors, fingerprints, missingScale };
    this.current = { ...found, served: null, weights: null };
    return {
      name,
      inspection: facts,
      tensors: tensors.length,
      ranks: ranksOf(tensors),
      takesOne: missingScale === "one",
      hasConfig: opened.configText !== null,
      part: partOf(shards.map(({ path }) => path)),
    };
  }

  async inspected(start: number, end: number): Promise<readonly InspectedTensor[]> {
    return this.need().tensors.slice(start, end);
  }

  async planned(start: number, end: number): Promise<readonly PlannedTensor[]> {
    return this.needPlan().plan.tensors.slice(start, end);
  }

  async plan(choice: ConversionChoice): Promise<PlanFacts> {
    const { opened, sources, missingScale } = this.need();
    const { include, exclude } = choice;
    const plan =
      choice.action === "quantize"
        ? planQuantize(opened.checkpoint, {
            include,
            exclude,
            to: choice.to,
            overrides: choice.overrides,
            missingScale,
          })
        : planDequantize(opened.checkpoint, {
            ...(include.length > 0 && { include }),
            exclude,
            dtype: choice.dtype,
            missingScale,
          });
    const direction: Direction =
      choice.action === "quantize"
        ? { kind: "quantize", to: choice.to }
        : { kind: "dequantize", dtype: choice.dtype };
    const all = outputsOf(sources, opened, plan, direction);
    const isFolder = opened.configText !== null || opened.index !== null || plan.files.length > 1;
    const files = isFolder ? all : all.filter(({ kind }) => kind === "shard");
    this.ready = { choice, plan, files };
    const sizes = files.map(({ name, size }) => ({ name, size }));
    return {
      files: sizes,
      size: sizes.reduce((n, { size }) => n + size, 0),
      tensors: plan.tensors.length,
      toAdd: opened.configText === null && choice.action === "quantize" ? additions(plan, choice.to) : null,
      warnings: choice.action === "quantize" ? warningsOf(plan, choice.to) : [],
    };
  }

  async estimate(): Promise<Estimate> {
    const current = this.need();
    const { plan } = this.needPlan();
    const { sources } = current.opened;
    const { size } = this.pool;
    if (current.files.every((named) => "file" in named)) {
      const speed = await measureSpeed(plan, this.pool, sources, { warm: size, timed: 2 * size });
      return { seconds: secondsFromDisk(plan, speed), rate: null };
    }
    current.served ??= await measureSpeed(plan, this.pool, sources, { warm: 1, timed: Math.min(4, size) });
    if (current.served === null) return { seconds: 0, rate: null };
    return { seconds: secondsFromServer(plan, current.served), rate: current.served.bytes };
  }

  async sample(tensor: string, names: readonly DialectName[], whole: boolean): Promise<Sample[]> {
    const weight = this.weightOf(tensor);
    if (weight === undefined || weight.kind === "other") return [];
    const schemes = names.length === 0 ? [null] : names.map((name) => dialects[name].storage.scheme);
    return Promise.all(schemes.map((scheme) => sampleWeight(weight, scheme, whole, this.pool)));
  }

  async block(tensor: string, name: DialectName | null, place: BlockPlace): Promise<BlockValues | null> {
    const weight = this.weightOf(tensor);
    if (weight === undefined || weight.kind === "other") return null;
    return blockOfWeight(weight, name === null ? null : dialects[name].storage.scheme, place, this.pool);
  }

  async basics(tensor: string): Promise<TensorBasics> {
    const weight = this.weightOf(tensor);
    if (weight === undefined) return { moments: null, first: [], hasNpy: false };
    return basicsOf(weight, this.pool, this.need().opened.sources);
  }

  async npy(tensor: string): Promise<Blob | null> {
    const weight = this.weightOf(tensor);
    return weight === undefined ? null : npyOf(weight, this.pool, this.need().opened.sources);
  }

  private weightOf(tensor: string): Weight | undefined {
    const current = this.need();
    current.weights ??= weightsOf(current);
    return current.weights.get(tensor);
  }

  async survey(): Promise<ReportSurvey> {
    const { opened, files, missingScale } = this.need();
    const { plan, choice } = this.needPlan();
    if (files.some((named) => "url" in named)) return { survey: null, scales: null };
    const conversions = conversionsOf(plan);
    const { pool } = this;
    const survey = await surveyConversions(conversions, (sampling) => pool.sample(sampling), pool.size);
    if (choice.action === "dequantize") {
      const inspection = await inspect(opened.checkpoint, opened.sources, { missingScale });
      return { survey, scales: scalesFound("input", scalesOf(inspection)) };
    }
    const found = scalesFound("output", survey.scales);
    const isAll = survey.values === survey.totalValues;
    return { survey, scales: found === null ? null : { ...found, isAll } };
  }

  async run(target: Target, name: string): Promise<FinishedRun> {
    const { opened, fingerprints, files } = this.need();
    const { files: outputs } = this.needPlan();
    if (this.running !== null) throw new PageError("other", "A conversion is running already.");
    const local = files.filter((named) => "file" in named);
    const shards = local.filter(({ path }) => fingerprints.has(path));
    const inputs = local.map(({ file }) => file);
    const run = new OutputRun(
      outputs,
      target,
      this.pool,
      opened.sources,
      inputs,
      this.storage,
      this.onProgress,
    );
    this.running = run;
    try {
      await refuseChanged(shards, fingerprints);
      return await run.start(name, () => refuseChanged(shards, fingerprints));
    } finally {
      this.running = null;
    }
  }

  async pause(): Promise<void> {
    this.running?.pause();
  }

  async resume(): Promise<void> {
    this.running?.resume();
  }

  async cancel(): Promise<void> {
    this.running?.cancel();
  }

  tidy(): Promise<StorageState> {
    return this.storage.tidy();
  }

  zip(folder: string, files: readonly WrittenFile[]): Promise<Blob> {
    const entries = files.map(({ name, file }) => ({ name: `${folder}/${name}`, input: file! }));
    // The archive is a stream, so that no file is in memory as a whole. Browsers keep large blobs on disk.
    return downloadZip(entries).blob();
  }

  saved(id: string): Promise<void> {
    return this.storage.saved(id);
  }

  remove(id: string): Promise<void> {
    return this.storage.remove(id);
  }

  private need(): CurrentCheckpoint {
    if (this.current === null) throw new PageError("other", "No files are open.");
    return this.current;
  }

  private needPlan(): CurrentPlan {
    if (this.ready === null) throw new PageError("other", "Nothing is planned.");
    return this.ready;
  }
}

/**
 * Inspects a checkpoint. Where only scales are missing, as in a single shard of many, they are taken as 1.
 */
async function lookInside({
  checkpoint,
}: OpenedCheckpoint): Promise<Pick<CurrentCheckpoint, "missingScale"> & { readonly inspection: Inspection }> {
  const inspection = await inspect(checkpoint, null);
  if (inspection.warnings.length === 0) return { inspection, missingScale: "error" };
  const lenient = await inspect(checkpoint, null, { missingScale: "one" });
  // With missing scales taken as 1, only warnings about them go away.
  return lenient.warnings.length === inspection.warnings.length
    ? { inspection, missingScale: "error" }
    : { inspection: { ...lenient, warnings: inspection.warnings }, missingScale: "one" };
}

/**
 * The weights by name. Those with errors are left out: the errors were shown when the checkpoint was opened.
 */
function weightsOf({ opened, missingScale }: CurrentCheckpoint): ReadonlyMap<string, Weight> {
  const { weights } = resolve(opened.checkpoint, { missingScale }, () => {});
  return new Map(weights.map((weight) => [weight.name, weight]));
}

/**
 * Places of tensors in the order of their names, in which layer 2 comes before layer 10, and all of layer 01
 * before layer 1.
 */
function ranksOf(tensors: readonly InspectedTensor[]): Uint32Array {
  const keys = tensors.map(({ name }) => name.replace(/\d+/g, (digits) => digits.padStart(8, "0") + digits));
  const ranks = new Uint32Array(tensors.length);
  const inOrder = [...keys.keys()].sort((a, b) => (keys[a]! < keys[b]! ? -1 : 1));
  for (const [rank, i] of inOrder.entries()) ranks[i] = rank;
  return ranks;
}

/**
 * What the name of a file says of its siblings:
 * model-00001-of-00005.safetensors; `null` where all of them are open.
 */
function partOf(names: readonly string[]): CheckpointFacts["part"] {
  const [, index, of] = /-(\d+)-of-(\d+)\.safetensors$/.exec(names[0] ?? "") ?? [];
  if (index === undefined || names.length >= Number(of)) return null;
  return { index: Number(index), of: Number(of) };
}

/**
 * What config.json must hold for loaders to recognise the output, as text; `null` where nothing is quantised.
 */
function additions(plan: Plan, to: DialectName): string | null {
  if (plan.tensors.every(({ action }) => action === "copy")) return null;
  return quantizedDocuments("{}", {}, plan, to).find(({ name }) => name === "config.json")?.text ?? null;
}
