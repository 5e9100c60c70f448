import type { DecoderConfig } from "../model/config.ts";
import type { Program } from "../model/program.ts";
import type { Team } from "../model/team.ts";
import { QUERIES_AT_ONCE } from "./attention.ts";
import type { BatchSize } from "./buffers.ts";
import type { TrainKernels } from "./kernels.ts";
import { headAttentionOf } from "./linears.ts";
import { blockRows } from "./recipes.ts";
import { RowShares } from "./row-shares.ts";
import type { LinearWeight, Weights } from "./weights.ts";

/** Working memory of one member: addresses. */
export interface Workspace {
  /** A rounded operand, and an operand that is transposed before it is rounded. */
  readonly rounded: number;
  readonly transposed: number;
  /** Workspaces of the kernels `multiply`, `round` and `attend`. */
  readonly multiply: number;
  readonly round: number;
  readonly attention: number;
  /** The probabilities of one head of a sequence, and their gradients, [length, length]. */
  readonly scores: { readonly p: number; readonly dp: number };
}

/** Allocates a member's working memory, large enough for the largest of its products. */
export function workspaceOf(
  program: Program,
  config: DecoderConfig,
  { linears, head }: Weights,
  chunks: RowShares,
  { batch, length }: BatchSize,
  team: Team,
): Workspace {
  const kernels = program.kernels as TrainKernels;
  const { heads, keyHeads, headDim } = headAttentionOf(config);
  const tokens = batch * length;
  const bytes = (what: string, count: number) => program.bytes(`${what} of ${team.member}`, count >>> 0);
  const named = (what: string, count: number) => program.floats(`${what} of ${team.member}`, count);
  const most = (of: (weight: LinearWeight) => number) => Math.max(...[...linears, head].map(of));
  const ownOf = (shares: RowShares) => {
    const { start, end } = shares.rowsOfMember(team);
    return end - start;
  };
  const rows = ownOf(chunks);
  const width = ({ n, k }: LinearWeight) => Math.max(n, k);
  /** Rows of the left operands of weight gradients, of a weight and of its adapter. */
  const height = ({ n, recipe, adapter }: LinearWeight) =>
    Math.max(
      ownOf(new RowShares(n, blockRows(recipe.weightGradient.dy))),
      adapter === null ? 0 : Math.max(ownOf(new RowShares(n)), adapter.rank),
    );
  const formats = linears.flatMap(({ recipe: { forward, inputGradient, weightGradient } }) => [
    ...[forward.x, forward.w, inputGradient.dy, inputGradient.w, weightGradient.dy, weightGradient.x],
  ]);
  const multiply = Math.max(
    kernels.plainWorkspace(rows, most(width)) >>> 0,
    kernels.plainWorkspace(most(height), tokens) >>> 0,
    kernels.plainWorkspace(QUERIES_AT_ONCE, Math.max(length, headDim)) >>> 0,
  );
  return {
    rounded: named("rounded", Math.max(rows * most(width), most(height) * tokens)),
    transposed: named("transposed", most(height) * tokens),
    multiply: bytes("multiply", multiply),
    round: bytes("rounding", kernels.roundWorkspace(Math.max(tokens, most(width)), blockRows(...formats))),
    attention: bytes("attention", kernels.attentionWorkspace(length * (heads / keyHeads), headDim, headDim)),
    scores: { p: named("p", length * length), dp: named("dp", length * length) },
  };
}
