/**
 * The kernels' own working memory, in front of the engine's heap: a place for the last few values of a row, padded to a whole
 * vector, and one running maximum per block of a panel.
 *
 * It is one place for each instance and not one for each call: nothing in it outlives a call of the host, calls do not overlap, and
 * a place of each call would be one more argument of every kernel with a tail. Instances that share a memory have it moved, each to a
 * place of its own.
 */
export abstract class Scratch {
  /** Bytes between where it is and where it is unless it is moved. */
  static moved: usize = 0;

  @inline static get start(): usize {
    return (__heap_base + 15) & ~15;
  }

  /** Input of a tail: up to 16 values of 4 bytes, the rest zero. */
  @inline static get input(): usize {
    return Scratch.start + Scratch.moved;
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

  @inline static get bytes(): usize {
    return 128 + 16 * Scratch.blocks;
  }

  /** Where the heap begins, behind the place that it has when nothing was moved. */
  @inline static get end(): usize {
    return Scratch.start + Scratch.bytes;
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
