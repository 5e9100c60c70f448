import type { Program } from "../model/program.ts";
import type { LinearWeight } from "./weights.ts";

/** What rounding has done to the values of an operand since the counts were last taken. */
export interface RangeCounts {
  /** Largest magnitude of the values, in float32 before rounding. */
  amax: number;
  /** Values that were rounded. */
  count: number;
  /** Values that were not 0 and became 0, and values that were cut to the largest code. */
  flushed: number;
  saturated: number;
}

const OPERANDS = ["x", "w", "dy"] as const;
/** The operands of a linear layer's products, by name. */
export type OperandName = (typeof OPERANDS)[number];

/**
 * float64 of an operand: nine sums of the kernel `compare`, of which three
 * are read, and how many values there were.
 */
const SUMS = 10;
const [AMAX, FLUSHED, SATURATED, COUNT] = [4, 7, 8, 9];

/** The counts of all operands, as sums in wasm memory. Each member adds to its own sums. */
export class Counts {
  readonly #program: Program;
  readonly #weights: readonly LinearWeight[];
  readonly #start: number;
  readonly #length: number;

  constructor(program: Program, weights: readonly LinearWeight[]) {
    this.#program = program;
    this.#weights = weights;
    this.#length = program.team.size * weights.length * OPERANDS.length * SUMS;
    this.#start = program.bytes("counts", 8 * this.#length);
  }

  /** Counts `values` more values of an operand, and gives the address of the sums the kernel adds to. */
  add({ index }: LinearWeight, operand: OperandName, values: number): number {
    const sums = this.#sums(index, operand, this.#program.team.member);
    sums[COUNT]! += values;
    return sums.byteOffset;
  }

  #sums(index: number, operand: OperandName, member: number): Float64Array {
    const slot = (member * this.#weights.length + index) * OPERANDS.length + OPERANDS.indexOf(operand);
    return new Float64Array(this.#program.buffer, this.#start + 8 * slot * SUMS, SUMS);
  }

  /** Adds up and clears the counts of all members, by layer. Call it while no member is running. */
  take(): Map<string, Record<OperandName, RangeCounts>> {
    const of = (index: number, operand: OperandName): RangeCounts => {
      const counts = { amax: 0, count: 0, flushed: 0, saturated: 0 };
      for (let member = 0; member < this.#program.team.size; member++) {
        const sums = this.#sums(index, operand, member);
        counts.amax = Math.max(counts.amax, sums[AMAX]!);
        counts.count += sums[COUNT]!;
        counts.flushed += sums[FLUSHED]!;
        counts.saturated += sums[SATURATED]!;
      }
      return counts;
    };
    const found = this.#weights.map(({ name, index, indexOfX }) => {
      const counts = { x: of(indexOfX, "x"), w: of(index, "w"), dy: of(index, "dy") };
      return [name, counts] as const;
    });
    new Float64Array(this.#program.buffer, this.#start, this.#length).fill(0);
    return new Map(found.filter(([, counts]) => Object.values(counts).some(({ count }) => count > 0)));
  }
}
