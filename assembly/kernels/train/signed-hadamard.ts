import { Random } from "../../lanes/random";
import { RandomStream } from "./stochastic";

/**
 * x[rows, cols] in place, each sixteen values of a row times a Hadamard matrix of 16 over 4, whose rows have
 * random signs. It is orthogonal, so products of two operands that were both multiplied by it stay what they
 * are, and large values are spread out before they are rounded. What is left at the end of a row stays.
 */
export function hadamard(x: usize, rows: usize, cols: usize, stream: RandomStream): void {
  const signs = Random.word(stream.words(0), 0);
  const whole = cols & ~15;
  for (let row: usize = 0; row < rows; row++, x += 4 * cols) {
    for (let block: usize = 0; block < whole; block += 16) {
      const at = x + 4 * block;
      for (let i: usize = 0; i < 16; i++)
        store<f32>(at + 4 * i, ((signs >> <u32>i) & 1 ? -0.25 : 0.25) * load<f32>(at + 4 * i));
      for (let half: usize = 1; half < 16; half *= 2) {
        for (let i: usize = 0; i < 16; i++) {
          if (i & half) continue;
          const a = load<f32>(at + 4 * i);
          const b = load<f32>(at + 4 * (i + half));
          store<f32>(at + 4 * i, a + b);
          store<f32>(at + 4 * (i + half), a - b);
        }
      }
    }
  }
}
