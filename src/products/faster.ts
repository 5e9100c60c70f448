import type { BlockScaled } from "../tensor/tensor.ts";
import type { PackedWeights, PackOptions } from "./packed.ts";
import type { GemmOptions, Matrix } from "./products.ts";

/** What is needed of an engine. */
interface Multiplier {
  pack(w: BlockScaled, options: PackOptions): PackedWeights;
  gemm(x: Matrix, w: PackedWeights, options: GemmOptions): unknown;
}

const [ROWS, COLUMNS, DEPTH] = [48, 96, 512];
const TURNS = 3;
const MILLISECONDS = 0.4;

/**
 * Whether products of E4M3 codes are faster in float32 or with int8 activations here: the instruction that makes the difference, a dot of four bytes, cannot be asked
 * for, so both are timed, in turns.
 */
export function fasterOf(engine: Multiplier): "f32" | "int8" {
  const codes = Uint8Array.from({ length: COLUMNS * DEPTH }, (_, i) => 0x30 + ((i * 7) % 24));
  const scales = new Uint8Array(DEPTH / 128).fill(127);
  const w = engine.pack({ format: "e4m3", shape: [COLUMNS, DEPTH], block: [128, 128], codes, scales }, {});
  const x = { values: new Float32Array(ROWS * DEPTH).fill(1), shape: [ROWS, DEPTH] };
  const out = new Float32Array(ROWS * COLUMNS);
  const least = { f32: Infinity, int8: Infinity };
  for (let turn = 0; turn < TURNS; turn++) {
    for (const activations of ["f32", "int8"] as const) {
      const end = performance.now() + MILLISECONDS;
      // A host whose clock stands still during a request is measured once, and keeps the float path.
      do {
        const start = performance.now();
        engine.gemm(x, w, { activations, out });
        least[activations] = Math.min(least[activations], performance.now() - start);
      } while (performance.now() < end && least[activations] > 0);
    }
  }
  w.free();
  return least.int8 < least.f32 ? "int8" : "f32";
}
