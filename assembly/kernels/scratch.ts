/**
 * The kernels' own working memory, in front of the engine's heap: a place for the last few values of a row, padded
 * to a whole vector, and one running maximum per block of a panel.
 */
export abstract class Scratch {
  /** Input of a tail: up to 16 values of 4 bytes, the rest zero. */
  @inline static get input(): usize {
    return (__heap_base + 15) & ~15;
  }

  /** Output of a tail. */
  @inline static get output(): usize {
    return Scratch.input + 64;
  }

  /** Running maxima, one v128 a block. */
  @inline static get maxima(): usize {
    return Scratch.output + 64;
  }

  /** How many blocks there is room for; a multiple of four. */
  @inline static get blocks(): usize {
    return 512;
  }

  @inline static get end(): usize {
    return Scratch.maxima + 16 * Scratch.blocks;
  }

  /** Copies the last `bytes` of a row to `input`, followed by zeros. */
  static take(src: usize, bytes: usize): usize {
    memory.fill(Scratch.input, 0, 64);
    memory.copy(Scratch.input, src, bytes);
    return Scratch.input;
  }

  /** Copies the first `bytes` of `output` to their place. */
  static give(dst: usize, bytes: usize): void {
    memory.copy(dst, Scratch.output, bytes);
  }
}
