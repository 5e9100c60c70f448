/**
 * Random words from a counter: Philox 4x32 of ten rounds (Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011). A word depends on the counter and the key alone, so it is the same in any order, in any
 * thread and in every runtime.
 */
export abstract class Random {
  /** Four words of a counter of four and a key of two. */
  static words(c0: u32, c1: u32, c2: u32, c3: u32, key0: u32, key1: u32): v128 {
    const factors = i32x4(<i32>0xd2511f53, <i32>0xcd9e8d57, 0, 0);
    const steps = i32x4(<i32>0x9e3779b9, 0, <i32>0xbb67ae85, 0);
    const zeros = i32x4.splat(0);
    let counter = i32x4.replace_lane(i32x4.replace_lane(i32x4.splat(c0), 1, c1), 2, c2);
    counter = i32x4.replace_lane(counter, 3, c3);
    let key = i32x4.replace_lane(i32x4.replace_lane(zeros, 0, key0), 2, key1);
    for (let round = 0; round < 10; round++) {
      // Words 0 and 2 times a factor each, 64 bits: low word, high word, low word, high word.
      const products = i64x2.extmul_low_i32x4_u(i32x4.shuffle(counter, counter, 0, 2, 0, 2), factors);
      const others = i32x4.shuffle(counter, zeros, 1, 4, 3, 4);
      counter = v128.xor(v128.xor(i32x4.shuffle(products, products, 3, 2, 1, 0), others), key);
      key = i32x4.add(key, steps);
    }
    return counter;
  }

  /** Word i of four. */
  @inline static word(words: v128, i: u32): u32 {
    if (i == 0) return i32x4.extract_lane(words, 0);
    if (i == 1) return i32x4.extract_lane(words, 1);
    return i == 2 ? i32x4.extract_lane(words, 2) : i32x4.extract_lane(words, 3);
  }
}
