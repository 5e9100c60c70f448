import { type DialectName, dialectOf, dialects } from "../dialects/index.ts";
import { matrixOf } from "../read/weights.ts";
import { checkPlan, conversionsOf, type Plan, type PlannedTensor } from "./plan.ts";

/**
 * Warnings to read before the output is used: weights and readers that do not go together.
 * @throws BlockscaleError `option`
 */
export function warningsOf(plan: Plan, to: DialectName): string[] {
  checkPlan("warningsOf", plan);
  dialectOf(to);
  return [
    ...raggedWarnings(plan),
    ...splitWarnings(plan),
    ...(dialects[to].warnings ?? []),
    ...emptyWarnings(plan, to),
  ];
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

/** Layers of which vLLM and SGLang make one: parts of attention and of MLPs, and the experts of a layer. */
const FUSED: readonly (readonly [layer: RegExp, fused: string])[] = [
  [/\.experts\.\d+\.[\w.]+$/, ".experts"],
  [/\.[qkv]_proj\.weight$/, ".qkv_proj"],
  [/\.(gate|up)_proj\.weight$/, ".gate_up_proj"],
  [/\.w[13]\.weight$/, ".w13"],
  [/\.(q_a_proj|kv_a_proj_with_mqa)\.weight$/, ".fused_qkv_a_proj"],
];

/** Warnings about layers that readers fuse, some of which are stored in one way and some in another. */
function splitWarnings({ tensors }: Plan): string[] {
  const first = new Map<string, PlannedTensor>();
  for (const tensor of tensors) {
    const [layer, fused] = FUSED.find(([layer]) => layer.test(tensor.name)) ?? [];
    if (layer === undefined || tensor.shape.length < 2 || tensor.action === "drop") continue;
    const name = tensor.name.replace(layer, fused!);
    const other = first.get(name);
    if (other === undefined) first.set(name, tensor);
    else if (formatOf(other) !== formatOf(tensor)) {
      const [a, b] = [other, tensor].map((part) => `${part.name} (${formatOf(part)})`);
      return [
        `vLLM and SGLang fuse layers that are stored in two ways here, such as ${a} and ${b}: they refuse that, or read it wrong. Choose all of such layers, or none.`,
      ];
    }
  }
  return [];
}

function formatOf({ action, wasScaled, format, after }: PlannedTensor): string {
  return action === "copy" && !wasScaled ? "as it was" : (format ?? String(after.dtype));
}

function emptyWarnings(plan: Plan, to: DialectName): string[] {
  const isEmpty = plan.tensors.every(({ action, wasScaled }) => action !== "quantize" && !wasScaled);
  return isEmpty ? [`Nothing was quantised: no weight is one that ${to} stores.`] : [];
}
