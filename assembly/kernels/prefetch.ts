/** Has codes fetched to a cache by reading a byte of every 64: about a cache line. */
export function prefetch(at: usize, bytes: usize): void {
  const end = at + bytes;
  for (; at < end; at += 64) load<u8>(at);
}
