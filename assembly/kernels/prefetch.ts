/** Has codes fetched to a cache by reading a byte of every 64: about a cache line. */
export function prefetch(at: usize, bytes: usize): void {
  const end = at + bytes;
  for (; at < end; at += 64) load<u8>(at);
}

/** Bytes of a page of memory, at whose end a processor's prefetcher stops. */
const PAGE: usize = 4096;

export abstract class Pages {
  /**
   * For codes that are about to be read and lie where a page begins: reads a cache line of the page after it,
   * so that its address is known and the prefetcher goes on. A product of one row with weights that come from
   * memory is 4 % faster. Further lines gain nothing, and those of every 64 bytes lose: reads are waited for
   * in their order, and 512 instructions, as many as a processor has under way, are some 500 codes.
   * @param last the last byte that may be read
   */
  @inline static touchNext(codes: usize, bytes: usize, last: usize): void {
    const end = codes + bytes;
    for (let page = (codes + PAGE - 1) & ~(PAGE - 1); page < end; page += PAGE)
      load<u8>(min(page + PAGE, last));
  }
}
