import type { DecoderConfig } from "../model/config.ts";
import type { Program } from "../model/program.ts";
import type { Seat } from "../model/share.ts";
import type { BatchSize } from "./buffers.ts";
import { Chunks } from "./chunks.ts";
import type { TrainKernels } from "./kernels.ts";
import { attentionOf } from "./linears.ts";
import { blockRows } from "./recipes.ts";
import type { LinearWeight, Weights } from "./weights.ts";

/** Working memory of one member: addresses. */
export interface Workspace {
  /** A rounded operand, a transposed operand, and a result that is going to be added to another tensor. */
  readonly rounded: number;
  readonly transposed: number;
  readonly result: number;
  /** The transpose of a low-rank matrix of an adapter, [rank, tokens]. */
  readonly lowTransposed: number;
  /** Workspaces of the kernels `gemmPlain`, `round` and `attend`. */
  readonly gemm: number;
  readonly rounding: number;
  readonly attention: number;
  /** One head of a sequence, each [length, headDim]; dout is the gradient of its result. */
  readonly head: {
    readonly q: number;
    readonly k: number;
    readonly v: number;
    readonly dout: number;
    readonly transposed: number;
    readonly result: number;
  };
  /** The head's probabilities, their gradients, and one of these transposed, [length, length]. */
  readonly scores: { readonly p: number; readonly dp: number; readonly transposed: number };
}

/** Allocates a member's working memory, large enough for the largest of its products. */
export function workspaceOf(
  program: Program,
  config: DecoderConfig,
  weights: Weights,
  chunks: Chunks,
  tokens: number,
  { length }: BatchSize,
  seat: Seat,
): Workspace {
  const kernels = program.kernels as TrainKernels;
  const { heads, keyHeads, headDim } = attentionOf(config);
  const name = (what: string) => `${what} of ${seat.rank}`;
  const floats = (what: string, n: number) => program.room(name(what), n);
  const ownOf = (shares: Chunks) => {
    const { start, end } = shares.rowsOf(seat);
    return end - start;
  };
  const rows = ownOf(chunks);
  const shapes = [...weights.linears, weights.head].map(({ n, k, recipe, adapter }: LinearWeight) => {
    const { forward, inputGradient, weightGradient } = recipe;
    return {
      n,
      k,
      // An adapter's A is shared by columns.
      ownN: Math.max(
        ownOf(new Chunks(n, blockRows(weightGradient.dy))),
        adapter === null ? 0 : ownOf(new Chunks(k)),
      ),
      rank: adapter?.rank ?? 0,
      formats: [forward.x, forward.w, inputGradient.dy, inputGradient.w, weightGradient.dy, weightGradient.x],
    };
  });
  const most = (of: (shape: (typeof shapes)[number]) => number) => Math.max(...shapes.map(of));
  const products = shapes.flatMap(({ n, k, ownN }) => [
    kernels.plainWorkspace(rows, Math.max(n, k)),
    kernels.plainWorkspace(ownN, tokens),
  ]);
  const attention = Math.max(length, headDim);
  const widest = Math.max(
    tokens,
    most(({ n, k }) => Math.max(n, k)),
  );
  const tallest = blockRows(...shapes.flatMap(({ formats }) => formats));
  const dims = (what: string) => floats(what, length * headDim);
  const squares = (what: string) => floats(what, length * length);
  return {
    rounded: floats(
      "rounded",
      Math.max(
        most(({ n, k }) => rows * Math.max(n, k)),
        most(({ ownN }) => ownN * tokens),
      ),
    ),
    transposed: floats(
      "transposed",
      most(({ ownN }) => ownN * tokens),
    ),
    result: floats(
      "result",
      most(({ ownN, k }) => Math.max(rows, ownN) * k),
    ),
    lowTransposed: floats(
      "low",
      most(({ rank }) => rank * tokens),
    ),
    gemm: program.bytes(
      name("gemm"),
      Math.max(...products.map((bytes) => bytes >>> 0), kernels.plainWorkspace(attention, attention) >>> 0),
    ),
    rounding: program.bytes(name("rounding"), kernels.roundWorkspace(widest, tallest) >>> 0),
    attention: program.bytes(
      name("attention"),
      kernels.attentionWorkspace(length * (heads / keyHeads), headDim, headDim) >>> 0,
    ),
    head: {
      q: dims("q"),
      k: dims("k"),
      v: dims("v"),
      dout: dims("dout"),
      transposed: dims("transposed head"),
      result: dims("result of head"),
    },
    scores: { p: squares("p"), dp: squares("dp"), transposed: squares("transposed p") },
  };
}
