import { ROUTING_CALL } from "./calls.ts";
import type { DecoderConfig, DenseMlp, ExpertsMlp, Layer } from "./config.ts";
import { ACTIVATION_ID, ROUTING_ID } from "./kernels.ts";
import type { Linear, Program } from "./program.ts";
import { type Range, rowsOf, scaleRange, type Team } from "./team.ts";

/** The feed-forward network of a layer (MLP): dst[tokens, hidden] <- MLP of x[tokens, hidden]. */
export interface Mlp {
  apply(dst: number, x: number, tokens: number): void;
}

/**
 * Experts `start` to `end` of a mixture, and whether the shared expert is included. The results of all parts
 * of an MLP sum to its result.
 */
export interface ExpertRange {
  readonly start: number;
  readonly end: number;
  readonly withShared: boolean;
}

export function makeMlp(program: Program, config: DecoderConfig, layer: Layer, key: string): Mlp {
  const { mlp } = layer;
  if (mlp.kind === "dense") return new GatedMlp(program, config, mlp, key);
  return new Mixture(program, config, mlp, key);
}

/** down(activation(gate(x)) * up(x)) */
class GatedMlp implements Mlp {
  readonly #program: Program;
  readonly #activation: number;
  readonly #size: number;
  readonly #gate: Linear;
  readonly #up: Linear;
  readonly #down: Linear;

  constructor(program: Program, config: DecoderConfig, { size }: Pick<DenseMlp, "size">, key: string) {
    this.#program = program;
    this.#activation = ACTIVATION_ID[config.activation];
    this.#size = size;
    this.#gate = program.linear(`${key}.gate`, (team) => rowsOf(size, team));
    this.#up = program.linear(`${key}.up`, (team) => rowsOf(size, team));
    this.#down = program.linear(`${key}.down`, (team) => rowsOf(config.hidden, team));
  }

  apply(dst: number, x: number, tokens: number): void {
    const program = this.#program;
    const inner = this.computeInner(x, tokens, "inner");
    program.multiply(dst, inner, tokens, this.#down);
  }

  /**
   * Computes activation(gate(x)) * up(x), gathered from all members.
   * @returns the address of [tokens, size]
   */
  computeInner(x: number, tokens: number, name: string): number {
    const program = this.#program;
    const own = this.#gate.weight.rows;
    const whole = program.floats(name, tokens * this.#size);
    const shareAt = program.team.size === 1 ? whole : program.floats(`${name} share`, tokens * own);
    const up = program.floats("up", tokens * own);
    program.multiplyOwnAll(x, tokens, [
      { dst: shareAt, linear: this.#gate },
      { dst: up, linear: this.#up },
    ]);
    program.kernels.activateGated(this.#activation, shareAt, up, tokens * own);
    program.exchange.gatherColumns(program.buffer, tokens, [
      { shareAt: shareAt, dst: whole, total: this.#size, ranges: this.#gate.ranges },
    ]);
    return whole;
  }

  /** This member's columns of down(inner). */
  downOwn(dst: number, inner: number, tokens: number): void {
    this.#program.multiplyOwn(dst, inner, tokens, this.#down);
  }
}

/** The matrices of one expert: separate tensors, or slice number `slice` of stacked ones. */
interface Expert {
  readonly gate: Linear;
  /** `null` where the rows of gate and up alternate in one tensor. */
  readonly up: Linear | null;
  readonly down: Linear;
  readonly slice: number;
}

/**
 * A mixture of experts. Each member holds some rows of every expert, so that members have equal work
 * whichever experts are chosen. Tokens are sorted by expert, and each expert is multiplied with all of its
 * tokens at once.
 */
export class Mixture implements Mlp {
  readonly #program: Program;
  readonly #config: DecoderConfig;
  readonly #sizes: ExpertsMlp;
  readonly #router: Linear;
  readonly #correction: number;
  readonly #key: string;
  readonly #experts = new Map<number, Expert>();
  readonly #shared: GatedMlp | null;
  readonly #gateUpLimit: number | null;

  constructor(program: Program, config: DecoderConfig, sizes: ExpertsMlp, key: string) {
    this.#program = program;
    this.#config = config;
    this.#sizes = sizes;
    const { count, sharedSize } = sizes;
    this.#gateUpLimit = config.gateUpLimit;
    this.#key = key;
    this.#router = program.linear(`${key}.router`, () => ({ start: 0, end: count }));
    this.#correction = program.store.vector(`${key}.correction`);
    const hasShared = sharedSize > 0 && program.store.has(`${key}.shared.down`);
    this.#shared = hasShared ? new GatedMlp(program, config, { size: sharedSize }, `${key}.shared`) : null;
  }

  /** An expert. Its weights have to be in the store already. */
  #expert(e: number): Expert {
    const found = this.#experts.get(e);
    if (found !== undefined) return found;
    const program = this.#program;
    const isEach = this.#sizes.names.layout === "each";
    const key = isEach ? `${this.#key}.${e}` : `${this.#key}.experts`;
    const isInterleaved = this.#gateUpLimit !== null;
    const inner = (team: Team) => rowsOf(this.#sizes.size, team);
    const expert: Expert = {
      gate: program.linear(`${key}.gate`, isInterleaved ? (team) => scaleRange(inner(team), 2) : inner),
      up: isInterleaved ? null : program.linear(`${key}.up`, inner),
      down: program.linear(`${key}.down`, (team) => rowsOf(this.#config.hidden, team)),
      slice: isEach ? 0 : e,
    };
    this.#experts.set(e, expert);
    return expert;
  }

  apply(dst: number, x: number, tokens: number): void {
    this.applyExperts(dst, x, tokens, { start: 0, end: this.#sizes.count, withShared: true });
  }

  /** The number of tokens that are routed to each expert. */
  expertCounts(x: number, tokens: number): Float32Array {
    const order = this.#route(x, tokens);
    return Float32Array.from({ length: this.#sizes.count }, (_, e) => order.of(e).end - order.of(e).start);
  }

  /** dst[tokens, hidden] <- the sum of what some of the experts contribute to the MLP. */
  applyExperts(dst: number, x: number, tokens: number, experts: ExpertRange): void {
    const program = this.#program;
    const { kernels } = program;
    const { hidden } = this.#config;
    const { chosen, size } = this.#sizes;
    const order = this.#route(x, tokens);
    const assignments = tokens * chosen;
    const isInterleaved = this.#gateUpLimit !== null;
    const innerRanges = this.#rangesOf(size);
    const outerRanges = this.#rangesOf(hidden);
    const own = lengthOf(innerRanges[program.team.member]!);
    const whole = program.floats("inner", assignments * size);
    const shareAt = program.team.size === 1 ? whole : program.floats("inner share", assignments * own);
    const up = program.floats("up", assignments * own * (isInterleaved ? 2 : 1));
    const rows = program.floats("rows", tokens * Math.max(hidden, size));
    for (let e = experts.start; e < experts.end; e++) {
      const { start, end } = order.of(e);
      const n = end - start;
      if (n === 0) continue;
      const expert = this.#expert(e);
      const gate = shareAt + 4 * start * own;
      const input = this.#rowsOfExpert(rows, x, order, start, end, tokens);
      if (expert.up === null) {
        program.multiplyOwn(up, input, n, expert.gate, expert.slice);
        kernels.activatePairs(gate, up, n * own, this.#gateUpLimit!);
      } else {
        const products = [
          { dst: gate, linear: expert.gate },
          { dst: up, linear: expert.up },
        ];
        program.multiplyOwnAll(input, n, products, expert.slice);
        kernels.activateGated(ACTIVATION_ID[this.#config.activation], gate, up, n * own);
      }
    }
    program.exchange.gatherColumns(program.buffer, assignments, [
      { shareAt: shareAt, dst: whole, total: size, ranges: innerRanges },
    ]);
    const shared = experts.withShared ? this.#shared : null;
    const sharedInner = shared?.computeInner(x, tokens, "shared inner");
    const outer = lengthOf(outerRanges[program.team.member]!);
    const result = program.team.size === 1 ? dst : program.floats("outer share", tokens * outer);
    const made = program.floats("made rows", tokens * outer);
    if (shared !== null) shared.downOwn(result, sharedInner!, tokens);
    else program.view(result, tokens * outer).fill(0);
    for (let e = experts.start; e < experts.end; e++) {
      const { start, end } = order.of(e);
      if (start === end) continue;
      const expert = this.#expert(e);
      program.multiplyOwn(made, whole + 4 * start * size, end - start, expert.down, expert.slice);
      for (let i = start; i < end; i++) {
        const at = result + 4 * order.tokens[i]! * outer;
        kernels.addScaled(at, made + 4 * (i - start) * outer, outer, order.weights[i]!);
      }
    }
    program.exchange.gatherColumns(program.buffer, tokens, [
      { shareAt: result, dst, total: hidden, ranges: outerRanges },
    ]);
  }

  /** Which rows of an expert's matrix, of `total`, each member has. */
  #rangesOf(total: number): Range[] {
    const { size } = this.#program.team;
    return Array.from({ length: size }, (_, member) => rowsOf(total, { member, size }));
  }

  /** The rows of x of an expert's tokens, contiguous: inside x if they are that already, else copied. */
  #rowsOfExpert(
    rows: number,
    x: number,
    order: ExpertOrder,
    start: number,
    end: number,
    tokens: number,
  ): number {
    const { hidden } = this.#config;
    if (end - start === 1) return x + 4 * order.tokens[start]! * hidden;
    if (end - start === tokens) return x;
    for (let i = start; i < end; i++)
      this.#program.copy(rows + 4 * (i - start) * hidden, x + 4 * order.tokens[i]! * hidden, hidden);
    return rows;
  }

  /** Computes the router's choices, and sorts them by expert. */
  #route(x: number, tokens: number): ExpertOrder {
    const program = this.#program;
    const sizes = this.#sizes;
    const { count, chosen } = sizes;
    const logits = program.floats("router logits", tokens * count);
    program.multiplyOwn(logits, x, tokens, this.#router);
    const indices = program.floats("experts", tokens * chosen);
    const weights = program.floats("expert weights", tokens * chosen);
    const call = program.call(ROUTING_CALL, {
      kind: ROUTING_ID[sizes.routing],
      indices,
      weights,
      logits,
      tokens,
      experts: count,
      chosen,
      bias: this.#correction,
      groups: sizes.groups,
      chosenGroups: sizes.chosenGroups,
      isNormalized: sizes.isNormalized ? 1 : 0,
      factor: sizes.factor,
      work: program.bytes("routing", 8 * count + 4 * sizes.groups),
    });
    program.kernels.route(call);
    return orderOf(
      new Int32Array(program.buffer, indices, tokens * chosen),
      program.view(weights, tokens * chosen),
      count,
      chosen,
    );
  }
}

function lengthOf({ start, end }: Range): number {
  return end - start;
}

/** Assignments of a token to an expert, sorted by expert and then by token, with the weight of each. */
interface ExpertOrder {
  readonly tokens: Int32Array;
  readonly weights: Float32Array;
  of(expert: number): { start: number; end: number };
}

function orderOf(indices: Int32Array, weights: Float32Array, count: number, chosen: number): ExpertOrder {
  const ends = new Int32Array(count + 1);
  for (const expert of indices) ends[expert + 1]!++;
  for (let e = 0; e < count; e++) ends[e + 1]! += ends[e]!;
  const starts = ends.slice();
  const order = { tokens: new Int32Array(indices.length), weights: new Float32Array(indices.length) };
  indices.forEach((expert, assignment) => {
    const at = starts[expert]!++;
    order.tokens[at] = Math.floor(assignment / chosen);
    order.weights[at] = weights[assignment]!;
  });
  return { ...order, of: (expert) => ({ start: ends[expert]!, end: ends[expert + 1]! }) };
}
