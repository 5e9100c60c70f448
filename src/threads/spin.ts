/**
 * Two counters in shared memory, seen by a worker and the thread that
 * asks it: requests sent and answers given.
 */
export type Counters = Int32Array;

export const ASKED = 0;
export const ANSWERED = 1;

/**
 * Spins until a counter reaches `count`, or the time is up. Waking a sleeping thread takes
 * longer than a product of one row, so a thread that expects the next request or answer
 * soon spins for a moment before it sleeps.
 */
export function spinUntil(counters: Counters, counter: number, count: number, milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (((Atomics.load(counters, counter) - count) | 0) < 0 && performance.now() < end);
}
