import type { BlockScaled } from "../tensor/tensor.ts";
import type { PackedWeights, PackOptions } from "./packed.ts";
import type { GemmOptions, Matrix } from "./products.ts";

/**
 * Rows of x from which on "auto" may round them: with fewer, taking codes apart
 * into two planes costs more than it saves.
 */
export const AUTO_ROWS = 16;

/** What is needed of an engine. */
interface ProductEngine {
  pack(w: BlockScaled, options: PackOptions): PackedWeights;
  gemm(x: Matrix, w: PackedWeights, options: GemmOptions): unknown;
}

/**
 * JavaScript engines compile what runs often a second time, in the background. Times before that say little:
 * V8 has done so after ten runs of a product, or some 10 ms. Six turns of at least 2 ms: the last ones are
 * past that.
 */
const TURNS = 6;
const MILLISECONDS = 2;

/**
 * The name of the action that takes less time here, both timed in turns for some 25 ms in all. The first
 * where they take as long, or where the clock stands still, as it does during a request at the edge.
 */
export function fasterOf<Name extends string>(actions: { readonly [name in Name]: () => unknown }): Name {
  const names = Object.keys(actions) as Name[];
  const least = new Map(names.map((name) => [name, Infinity]));
  for (let turn = 0; turn < TURNS; turn++) {
    for (const name of names) {
      const time = timeOf(actions[name]);
      if (time === 0) return names[0]!;
      least.set(name, Math.min(least.get(name)!, time));
    }
  }
  return names.reduce((best, name) => (least.get(name)! < least.get(best)! ? name : best));
}

/**
 * Milliseconds of an action, on average: a page's clock may move in steps of one. 0 where it stands still.
 */
function timeOf(action: () => unknown): number {
  const start = performance.now();
  let elapsed = 0;
  let count = 0;
  while (elapsed < MILLISECONDS && count < 40) {
    action();
    count++;
    elapsed = performance.now() - start;
  }
  return elapsed / count;
}

/** Some E4M3 weights to time, in blocks of 128x128. */
export function weightsToTime(rows: number, cols: number): BlockScaled {
  const codes = Uint8Array.from({ length: rows * cols }, (_, i) => 0x30 + ((i * 7) % 24));
  const scales = new Uint8Array(Math.ceil(rows / 128) * Math.ceil(cols / 128)).fill(127);
  return { format: "e4m3", shape: [rows, cols], block: [128, 128], codes, scales };
}

const [ROWS, COLUMNS, DEPTH] = [64, 256, 512];

/**
 * Whether products of E4M3 codes are faster in float32 or with int8 activations here: WebAssembly does not
 * tell whether a dot of four bytes, which makes the difference, is one instruction.
 */
export function timeActivations(engine: ProductEngine): "f32" | "int8" {
  const w = engine.pack(weightsToTime(COLUMNS, DEPTH), {});
  const x = { values: new Float32Array(ROWS * DEPTH).fill(1), shape: [ROWS, DEPTH] };
  const out = new Float32Array(ROWS * COLUMNS);
  const faster = fasterOf({
    f32: () => engine.gemm(x, w, { out }),
    int8: () => engine.gemm(x, w, { activations: "int8", out }),
  });
  w.free();
  return faster;
}
