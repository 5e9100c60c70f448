import type { ComparedTensor } from "../checkpoint/measure/compare.ts";
import type { InspectedTensor, Inspection } from "../checkpoint/measure/inspect.ts";
import type { PrecisionSummary, Summary } from "../checkpoint/measure/summary.ts";
import type { ScaleCounts, Survey } from "../checkpoint/measure/survey.ts";
import type { WorstBlock } from "../checkpoint/measure/worst-block.ts";
import type { StoredAs } from "../checkpoint/plan/plan.ts";

/** What a report is about: one of the four commands. */
export type ReportKind = "quantize" | "dequantize" | "compare" | "inspect";

/** All that a report tells: a plain record, which {@link reportPage} makes a page of. */
export interface Report {
  readonly kind: ReportKind;
  readonly input: string;
  /** The output; in a comparison, the second checkpoint. */
  readonly output: string | null;
  /** Dialect or dtype that was made; for an inspection, the dialect found. */
  readonly format: string | null;
  readonly tensors: readonly ReportedTensor[];
  readonly total: PrecisionSummary | null;
  /** Values of the tensors in `total`: more than `total.values` where only a sample was measured. */
  readonly totalValues: number | null;
  readonly files: readonly ReportedFile[];
  readonly scales: ReportedScales | null;
  readonly survey: Survey | null;
}

export interface ReportedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly before: StoredAs | null;
  /** `null` in an inspection, and where the second checkpoint has no such tensor. */
  readonly after: StoredAs | null;
  readonly precision: (PrecisionSummary & { readonly cosine?: number }) | null;
  readonly worstBlock: WorstBlock | null;
  /** Why it was kept or not compared; in an inspection, its block and scales. */
  readonly note: string | null;
}

export interface ReportedFile {
  readonly name: string;
  readonly bytes: number;
  readonly checksum: string | null;
}

export interface ReportedScales {
  readonly of: "input" | "output";
  /** Whether all scales were counted, or only those of a sample of rows. */
  readonly isAll: boolean;
  readonly weights: readonly ScaleCounts[];
}

interface Conversion extends Pick<Report, "input" | "output" | "format" | "files" | "scales" | "survey"> {
  readonly kind: "quantize" | "dequantize";
  readonly summary: Summary;
}

/** The report of a conversion. */
export function conversionReport({ summary, ...rest }: Conversion): Report {
  return {
    ...rest,
    tensors: summary.tensors.map(({ name, shape, before, after, precision, reason }) => ({
      name,
      shape,
      before,
      after,
      precision,
      worstBlock: null,
      note: reason,
    })),
    total: summary.total.precision,
    totalValues: summary.total.values,
  };
}

/** The part of an inspection that a report shows. */
export type Inspected = Pick<Inspection, "files" | "dialect" | "tensors">;

interface Comparison extends Pick<Report, "survey"> {
  readonly a: string;
  readonly b: string;
  readonly tensors: readonly ComparedTensor[];
  /** Both sides. Scales were read of the second one, or of the first if the second has none. */
  readonly inspections: readonly [Inspected, Inspected];
}

/** The report of a comparison. */
export function comparisonReport({ a, b, tensors, inspections, survey }: Comparison): Report {
  const [first, second] = inspections.map(
    (inspection) => new Map(inspection.tensors.map((tensor) => [tensor.name, storedAs(tensor)])),
  ) as [Map<string, StoredAs>, Map<string, StoredAs>];
  const [before, after] = inspections.map(scalesOf) as [ScaleCounts[], ScaleCounts[]];
  const of = after.length > 0 ? "output" : "input";
  return {
    kind: "compare",
    input: a,
    output: b,
    format: null,
    tensors: tensors.map(({ name, shape, status, precision, worstBlock }) => ({
      name,
      shape,
      before: first.get(name) ?? null,
      after: second.get(name) ?? null,
      precision,
      worstBlock,
      note: status === "compared" ? null : status,
    })),
    total: null,
    totalValues: null,
    files: [],
    scales: scalesFound(of, of === "output" ? after : before),
    survey,
  };
}

/** The report of what is inside a checkpoint. */
export function inspectionReport(input: string, inspection: Inspected): Report {
  return {
    kind: "inspect",
    input,
    output: null,
    format: inspection.dialect,
    tensors: inspection.tensors.map((tensor) => ({
      name: tensor.name,
      shape: tensor.shape,
      before: storedAs(tensor),
      after: null,
      precision: null,
      worstBlock: null,
      note: scaledAs(tensor),
    })),
    total: null,
    totalValues: null,
    files: inspection.files.map(({ name, bytes }) => ({ name, bytes, checksum: null })),
    scales: scalesFound("input", scalesOf(inspection)),
    survey: null,
  };
}

function storedAs({ dtype, bytes }: InspectedTensor): StoredAs {
  return { dtype, bytes };
}

function scaledAs({ scaled }: InspectedTensor): string | null {
  if (scaled === null) return null;
  const { block, scaleDtype, facts } = scaled;
  const range =
    facts === null || facts.count === 0 ? "" : `, 2^${facts.minExponent} … 2^${facts.maxExponent}`;
  return `${block.join("×")} ${scaleDtype ?? "–"}${range}`;
}

/** All scales of an inspected checkpoint, by weight and exponent. */
export function scalesOf({ tensors }: Pick<Inspected, "tensors">): ScaleCounts[] {
  return tensors.flatMap(({ name, scaled }) =>
    scaled?.facts == null || scaled.facts.count === 0 ? [] : [{ name, ...scaled.facts }],
  );
}

/** The scales of one side for a report; `null` if it has none. */
export function scalesFound(of: "input" | "output", weights: readonly ScaleCounts[]): ReportedScales | null {
  return weights.length === 0 ? null : { of, isAll: true, weights };
}
