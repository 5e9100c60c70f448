import { downloadZip } from "client-zip";
import type { DialectName } from "../../checkpoint/dialects/index.ts";
import type { BlockPlace, BlockValues } from "../../checkpoint/measure/block.ts";
import { type InspectedTensor, inspect } from "../../checkpoint/measure/inspect.ts";
import type { Sample } from "../../checkpoint/measure/sample.ts";
import { surveyConversions } from "../../checkpoint/measure/survey.ts";
import { conversionsOf, type PlannedTensor } from "../../checkpoint/plan/plan.ts";
import type { PlainWeight, ScaledWeight, Weight } from "../../checkpoint/read/weights.ts";
import { tensorFactorOf } from "../../checkpoint/run/prepare.ts";
import { scalesFound, scalesOf } from "../../report/report.ts";
import { filesOf } from "./chosen.ts";
import { measureSpeed, secondsFromDisk, secondsFromServer } from "./estimate.ts";
import { type CurrentCheckpoint, type CurrentWeights, openInside, weightsOf } from "./opened.ts";
import { OutputRun } from "./output-run.ts";
import { OutputStorage } from "./output-storage.ts";
import { type CurrentPlan, factsOfPlan, makePlan } from "./planned.ts";
import type { StripPool } from "./pool.ts";
import { PageError } from "./problem.ts";
import type {
  CheckpointFacts,
  ChosenCheckpoint,
  ConversionChoice,
  CoordinatorMethods,
  FinishedRun,
  PlanFacts,
  ReportSurvey,
  RunProgress,
  StorageState,
  Target,
  TensorBasics,
  TimeEstimate,
  WrittenFile,
} from "./protocol.ts";
import { refuseChanged } from "./sample-hash.ts";
import { blockOfWeight, type SampleStorage, sampleWeight, storageOf } from "./sampling.ts";
import { basicsOf, npyOf } from "./tensor-values.ts";

/** The work behind the page, in a worker of its own so that the page never waits. */
export class PageCoordinator implements CoordinatorMethods {
  private readonly pool: StripPool;
  private readonly onProgress: (progress: RunProgress) => void;
  private readonly storage = new OutputStorage();
  private current: CurrentCheckpoint | null = null;
  private currentPlan: CurrentPlan | null = null;
  private running: OutputRun | null = null;

  constructor(pool: StripPool, onProgress: (progress: RunProgress) => void) {
    this.pool = pool;
    this.onProgress = onProgress;
  }

  async open(chosen: ChosenCheckpoint): Promise<CheckpointFacts> {
    const { name, files } = await filesOf(chosen);
    this.current = null;
    this.currentPlan = null;
    const { open, found } = await openInside(name, files);
    this.pool.open(open.shards);
    this.current = open;
    return found;
  }

  async inspected(start: number, end: number): Promise<readonly InspectedTensor[]> {
    return this.need().tensors.slice(start, end);
  }

  async planned(start: number, end: number): Promise<readonly PlannedTensor[]> {
    return this.needPlan().plan.tensors.slice(start, end);
  }

  async plan(choice: ConversionChoice): Promise<PlanFacts> {
    const current = this.need();
    this.currentPlan = makePlan(current, choice);
    return factsOfPlan(current, this.currentPlan);
  }

  async estimate(): Promise<TimeEstimate> {
    const current = this.need();
    const { plan } = this.needPlan();
    const { sources } = current.opened;
    const { size } = this.pool;
    if (current.isLocal) {
      const conversions = conversionsOf(plan);
      const speed = await measureSpeed(conversions, this.pool, sources, { warm: size, timed: 2 * size });
      return { seconds: secondsFromDisk(plan, conversions, speed), bytesPerSecond: null };
    }
    const trial = { warm: 1, timed: Math.min(4, size) };
    current.serverSpeed ??= await measureSpeed(conversionsOf(plan), this.pool, sources, trial);
    if (current.serverSpeed === null) return { seconds: 0, bytesPerSecond: null };
    return {
      seconds: secondsFromServer(plan, current.serverSpeed),
      bytesPerSecond: current.serverSpeed.bytesPerSecond,
    };
  }

  async sample(tensor: string, names: readonly DialectName[], whole: boolean): Promise<Sample[]> {
    const weight = this.weightOf(tensor);
    if (weight === undefined || weight.kind === "other") return [];
    const all = names.length === 0 ? [null] : names;
    return Promise.all(
      all.map(async (name) => sampleWeight(weight, await this.storageOf(weight, name), whole, this.pool)),
    );
  }

  async block(tensor: string, name: DialectName | null, place: BlockPlace): Promise<BlockValues | null> {
    const weight = this.weightOf(tensor);
    if (weight === undefined || weight.kind === "other") return null;
    return blockOfWeight(weight, await this.storageOf(weight, name), place, this.pool);
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

  private storageOf(weight: PlainWeight | ScaledWeight, name: DialectName | null): Promise<SampleStorage> {
    return storageOf(name, weight, this.needWeights(), this.need(), this.pool);
  }

  private weightOf(tensor: string): Weight | undefined {
    return this.needWeights().byName.get(tensor);
  }

  async survey(): Promise<ReportSurvey> {
    const { opened, isLocal, missingScale } = this.need();
    const { plan, choice } = this.needPlan();
    if (!isLocal) return { survey: null, scales: null };
    const conversions = conversionsOf(plan);
    const { pool } = this;
    const survey = await surveyConversions(
      conversions,
      async (sampling, conversion) => {
        const given = await tensorFactorOf(conversion, opened.sources, pool.convert);
        return pool.sample({ ...sampling, ...(given && { tensorScale: given }) });
      },
      pool.size,
    );
    if (choice.action === "dequantize") {
      const inspection = await inspect(opened.checkpoint, opened.sources, { missingScale });
      return { survey, scales: scalesFound("input", scalesOf(inspection)) };
    }
    const found = scalesFound("output", survey.scales);
    const isAll = survey.values === survey.totalValues;
    return { survey, scales: found === null ? null : { ...found, isAll } };
  }

  async run(target: Target, name: string): Promise<FinishedRun> {
    const { opened, sampleHashes, files } = this.need();
    const { files: outputs } = this.needPlan();
    if (this.running !== null) throw new PageError("other", "A conversion is running already.");
    const local = files.filter((named) => "file" in named);
    const shards = local.filter(({ path }) => sampleHashes.has(path));
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
      await refuseChanged(shards, sampleHashes);
      return await run.start(name, () => refuseChanged(shards, sampleHashes));
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

  private needWeights(): CurrentWeights {
    const current = this.need();
    current.weights ??= weightsOf(current);
    return current.weights;
  }

  private needPlan(): CurrentPlan {
    if (this.currentPlan === null) throw new PageError("other", "Nothing is planned.");
    return this.currentPlan;
  }
}
