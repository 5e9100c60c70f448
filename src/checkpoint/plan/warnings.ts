import { type DialectName, dialectOf, dialects } from "../dialects/index.ts";
import { matrixOf } from "../read/weights.ts";
import { checkPlan, conversionsOf, type Plan } from "./plan.ts";

/**
 * Warnings to read before the output is used: weights and readers that do not go together.
 * @throws BlockscaleError `option`
 */
export function warningsOf(plan: Plan, to: DialectName): string[] {
  checkPlan("warningsOf", plan);
  dialectOf(to);
  return [...raggedWarnings(plan), ...(dialects[to].warnings ?? []), ...emptyWarnings(plan, to)];
}

/** Warnings about weights whose sides are no multiple of square blocks. */
function raggedWarnings(plan: Plan): string[] {
  const ragged = conversionsOf(plan).flatMap(({ from, into }) => {
    if (into.kind !== "scaled" || into.scheme.block[0] === 1) return [];
    const { rows, cols } = matrixOf(from.shape);
    const [blockRows, blockCols] = into.scheme.block;
    return rows % blockRows === 0 && cols % blockCols === 0
      ? []
      : [`${from.name} [${from.shape.join(", ")}]`];
  });
  const [first] = ragged;
  if (first === undefined) return [];
  const what = ragged.length === 1 ? `${first} has` : `${ragged.length} weights, such as ${first}, have`;
  return [
    `${what} sides that are no multiple of 128: transformers refuses that on a CPU, and vLLM and SGLang where they would cut such a block among GPUs.`,
  ];
}

function emptyWarnings(plan: Plan, to: DialectName): string[] {
  const isEmpty = plan.tensors.every(({ action, wasScaled }) => action !== "quantize" && !wasScaled);
  return isEmpty ? [`Nothing was quantised: no weight is one that ${to} stores.`] : [];
}
