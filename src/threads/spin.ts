/** Counters that a worker and the one who asks it both see, where memory can be shared: requests, and answers. */
export type Pulse = Int32Array;

export const ASKED = 0;
export const ANSWERED = 1;

/**
 * Watches a counter for a moment, until it has come to `count`. A thread that sleeps needs longer to wake up than a product
 * of one row takes; one that watches is there at once, when the next product follows or the other half is done.
 */
export function watch(pulse: Pulse, counter: number, count: number, milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (((Atomics.load(pulse, counter) - count) | 0) < 0 && performance.now() < end);
}
