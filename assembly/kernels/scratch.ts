/**
 * The kernels' own working memory, in front of the engine's heap: for the last few values of a row, padded to
 * a whole vector, and for one running maximum per block of a piece of a row.
 *
 * Each instance has one, not each call: nothing in it is needed after a call from the host, and calls do not
 * overlap. Memory for each call would be one more argument of the kernels of
 * fourteen files and of what they call, and one more part of a frame: 9 ns beside the 33 ns that the kernel
 * needs to quantise 32 values (Node 20). Where instances share a memory, each moves its own elsewhere.
 */
export abstract class Scratch {
  /** How many bytes it was moved by; 0 unless instances share a memory. */
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

  /** How many maxima fit; a multiple of four. */
  @inline static get blocks(): usize {
    return 512;
  }

  @inline static get bytes(): usize {
    return 128 + 16 * Scratch.blocks;
  }

  /** Where the heap begins: behind this memory, as long as it is not moved. */
  @inline static get end(): usize {
    return Scratch.start + Scratch.bytes;
  }

  /** Copies the last `bytes` of a row to `input`, followed by zeros. */
  static padInput(src: usize, bytes: usize): usize {
    memory.fill(Scratch.input, 0, 64);
    memory.copy(Scratch.input, src, bytes);
    return Scratch.input;
  }

  /** Copies the first `bytes` of `output` to dst. */
  static copyOutput(dst: usize, bytes: usize): void {
    memory.copy(dst, Scratch.output, bytes);
  }
}
