import { addPrecisions, EMPTY_PRECISION, type Precision, sqnr } from "../../engine/precision.ts";
import { isMap } from "../../io/files.ts";
import { kindOf } from "../../tensor/checks.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { ALREADY_REASON, checkPlan, type Plan, type PlannedTensor } from "../plan/plan.ts";
import { countOf } from "../read/weights.ts";

/** Precision in figures for people and machines. */
export interface PrecisionSummary {
  /**
   * Signal to quantisation noise in decibels; `null` where every value is what it was, -Infinity where
   * `nonFinite` is not 0, and where all values were 0 and some became something else.
   */
  readonly sqnrDb: number | null;
  /** Largest |error| / |value| over values that are not 0; 1 as soon as a value became 0. */
  readonly maxRelativeError: number;
  /** Largest |error|. */
  readonly maxAbsoluteError: number;
  /** Largest |error| divided by the largest |value| of its tensor. */
  readonly maxErrorOfAmax: number;
  readonly amax: number;
  readonly saturated: number;
  readonly flushedToZero: number;
  /**
   * Values that are NaN or Inf before or after, and not the same both times: no other figure knows of them.
   */
  readonly nonFinite: number;
  readonly values: number;
}

/** One row of a conversion's report. */
export interface TensorSummary extends PlannedTensor {
  /** `null` where the bytes were not changed. */
  readonly precision: PrecisionSummary | null;
}

/** The report of a conversion. */
export interface Summary {
  readonly tensors: readonly TensorSummary[];
  readonly total: {
    readonly tensors: number;
    readonly converted: number;
    readonly bytesBefore: number;
    readonly bytesAfter: number;
    /** Values of the converted tensors; more than `precision.values` where a sample was measured. */
    readonly values: number;
    readonly precision: PrecisionSummary | null;
  };
}

/**
 * The report of a conversion: its plan, and what its run measured.
 * @param measured by the name of the weight, as `onPrecision` of {@link fileStream} tells
 * @throws BlockscaleError `option`
 */
export function summarize(plan: Plan, measured: ReadonlyMap<string, Precision>): Summary {
  checkPlan("summarize", plan);
  if (!isMap(measured)) throw wrongMeasured(measured);
  const tensors = plan.tensors.map((tensor): TensorSummary => {
    const found = measured.get(tensor.name);
    const precision = found === undefined ? null : summaryOf(found);
    return isUnchanged(tensor, precision)
      ? { ...tensor, action: "copy", reason: ALREADY_REASON, precision }
      : { ...tensor, precision };
  });
  // In the order of the plan, whichever file was made first: a sum of float64 depends on it.
  const sum = plan.tensors.reduce(
    (all, { name }) => addPrecisions(all, measured.get(name) ?? EMPTY_PRECISION),
    EMPTY_PRECISION,
  );
  const ofConverted = tensors.filter(({ action }) => action !== "copy" && action !== "drop");
  const ofAmax = tensors.map(({ precision }) => precision?.maxErrorOfAmax ?? 0);
  return {
    tensors,
    total: {
      tensors: tensors.length,
      converted: ofConverted.length,
      values: ofConverted.reduce((n, { shape }) => n + countOf(shape), 0),
      bytesBefore: tensors.reduce((n, { before }) => n + before.bytes, 0),
      bytesAfter: tensors.reduce((n, { after }) => n + after.bytes, 0),
      precision:
        measured.size === 0
          ? null
          : { ...summaryOf(sum), maxErrorOfAmax: ofAmax.reduce((a, b) => Math.max(a, b), 0) },
    },
  };
}

function wrongMeasured(measured: unknown): BlockscaleError {
  return new BlockscaleError("option", {
    where: "summarize: measured",
    expected: "a Map of what was measured, by the names of the weights",
    got: kindOf(measured),
    fix: "Fill one in onPrecision of fileStream, or pass new Map().",
  });
}

/** Whether codes and scales came out as they went in: known only after the scales have been read. */
function isUnchanged({ action, before, after }: PlannedTensor, precision: PrecisionSummary | null): boolean {
  const isAlike = before.dtype === after.dtype && before.bytes === after.bytes;
  return action === "requantize" && isAlike && precision !== null && precision.sqnrDb === null;
}

/** Figures of a precision. */
export function summaryOf(precision: Precision): PrecisionSummary {
  const decibels = sqnr(precision);
  const { amax, maxError, maxRelative, saturated, flushed, nonFinite, count } = precision;
  return {
    sqnrDb: decibels === Infinity ? null : decibels,
    maxRelativeError: maxRelative,
    maxAbsoluteError: maxError,
    maxErrorOfAmax: amax === 0 ? 0 : maxError / amax,
    amax,
    saturated,
    flushedToZero: flushed,
    nonFinite,
    values: count,
  };
}

/**
 * A record of figures as JSON, indented. What JSON cannot hold would become null, which means exact: such
 * numbers are the strings "Infinity", "-Infinity" and "NaN".
 */
export function jsonOf(record: unknown): string {
  const spelled = (_: string, value: unknown) =>
    typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
  return JSON.stringify(record, spelled, 2);
}
