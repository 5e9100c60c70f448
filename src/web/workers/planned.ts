import type { DialectName } from "../../checkpoint/dialects/index.ts";
import { quantizedDocuments } from "../../checkpoint/plan/config.ts";
import { planDequantize } from "../../checkpoint/plan/dequantize.ts";
import type { Direction } from "../../checkpoint/plan/folder.ts";
import { type OutputFile, outputsOf } from "../../checkpoint/plan/outputs.ts";
import type { Plan } from "../../checkpoint/plan/plan.ts";
import { planQuantize } from "../../checkpoint/plan/quantize.ts";
import { warningsOf } from "../../checkpoint/plan/warnings.ts";
import type { CurrentCheckpoint } from "./opened.ts";
import type { ConversionChoice, PlanFacts } from "./protocol.ts";

/** A plan, the choice that it was made for, and all files of its output. */
export interface CurrentPlan {
  readonly choice: ConversionChoice;
  readonly plan: Plan;
  readonly files: readonly OutputFile[];
}

/** Plans what was chosen. @throws BlockscaleError `option`, `dialect`, `shape` */
export function makePlan(
  { opened, sources, missingScale }: CurrentCheckpoint,
  choice: ConversionChoice,
): CurrentPlan {
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
  return { choice, plan, files };
}

/** What the page is told of a plan. */
export function factsOfPlan({ opened }: CurrentCheckpoint, { choice, plan, files }: CurrentPlan): PlanFacts {
  const sizes = files.map(({ name, size }) => ({ name, size }));
  return {
    files: sizes,
    size: sizes.reduce((n, { size }) => n + size, 0),
    tensors: plan.tensors.length,
    toAdd: opened.configText === null && choice.action === "quantize" ? additions(plan, choice.to) : null,
    warnings: choice.action === "quantize" ? warningsOf(plan, choice.to) : [],
  };
}

/**
 * What config.json must hold for loaders to recognise the output, as text; `null` where nothing is quantised.
 */
function additions(plan: Plan, to: DialectName): string | null {
  if (plan.tensors.every(({ action }) => action === "copy")) return null;
  return quantizedDocuments("{}", {}, plan, to).find(({ name }) => name === "config.json")?.text ?? null;
}
