import { ActivationFunction } from "../../lanes/activation";
import { Scratch } from "../scratch";

/** x[n] <- activation of x. */
export function activate(kind: i32, x: usize, n: usize): void {
  const full = x + 4 * (n & ~3);
  for (; x < full; x += 16) v128.store(x, ActivationFunction.of(kind, v128.load(x)));
  const rest: usize = 4 * (n & 3);
  if (rest) {
    v128.store(Scratch.output, ActivationFunction.of(kind, v128.load(Scratch.padInput(x, rest))));
    Scratch.copyOutput(x, rest);
  }
}

/** gate[n] <- activation of gate, times up[n]. */
export function activateGated(kind: i32, gate: usize, up: usize, n: usize): void {
  const full = gate + 4 * (n & ~3);
  for (; gate < full; gate += 16, up += 16)
    v128.store(gate, f32x4.mul(ActivationFunction.of(kind, v128.load(gate)), v128.load(up)));
  const rest: usize = 4 * (n & 3);
  if (rest) {
    v128.store(Scratch.output, ActivationFunction.of(kind, v128.load(Scratch.padInput(gate, rest))));
    v128.store(Scratch.output, f32x4.mul(v128.load(Scratch.output), v128.load(Scratch.padInput(up, rest))));
    Scratch.copyOutput(gate, rest);
  }
}

/**
 * dst[n] <- (up + 1) * gate / (1 + e^(-1.702 gate)) of pairs[n] (gate, up), gate at most `limit` and up
 * within -limit and limit: the clamped SwiGLU of gpt-oss. dst may be where the pairs are.
 */
export function activatePairs(dst: usize, pairs: usize, n: usize, limit: f32): void {
  const full = dst + 4 * (n & ~3);
  for (; dst < full; dst += 16, pairs += 32)
    v128.store(dst, ActivationFunction.pairs(v128.load(pairs), v128.load(pairs, 16), limit));
  const rest = n & 3;
  if (rest) {
    Scratch.padInput(pairs, 8 * rest);
    v128.store(
      Scratch.output,
      ActivationFunction.pairs(v128.load(Scratch.input), v128.load(Scratch.input, 16), limit),
    );
    Scratch.copyOutput(dst, 4 * rest);
  }
}
