/**
 * Results of promises in the order in which they were begun, with several under way at a time.
 * @param work makes each promise, and so begins its work, when it is asked for the next one
 * @param most under way at a time
 * @throws the failure whose turn comes, or what the signal was aborted
 * with; nothing is under way any more by then
 */
export async function* inOrder<T>(
  work: Iterable<Promise<T>>,
  most: number,
  signal?: AbortSignal,
): AsyncGenerator<T, void, void> {
  const upcoming = work[Symbol.iterator]();
  const pending: Promise<T>[] = [];
  try {
    for (;;) {
      signal?.throwIfAborted();
      while (pending.length < most) {
        const next = upcoming.next();
        if (next.done) break;
        // A failure is met when its turn comes; until then it must not count as unhandled.
        next.value.catch(() => {});
        pending.push(next.value);
      }
      const first = pending.shift();
      if (first === undefined) return;
      yield await first;
    }
  } finally {
    await Promise.allSettled(pending);
  }
}

/**
 * Does something with each item, in any order. After a failure nothing more is begun.
 * @param most items that are worked on at a time
 * @throws the failure, once nothing is under way any more
 */
export async function forEachOf<T>(
  items: Iterable<T>,
  most: number,
  action: (item: T) => Promise<void>,
): Promise<void> {
  const left = items[Symbol.iterator]();
  let failed = false;
  const takeAll = async () => {
    while (!failed) {
      const next = left.next();
      if (next.done) return;
      try {
        await action(next.value);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  await settled(Array.from({ length: most }, takeAll));
}

/** All results, or the first failure once nothing is under way any more. */
export async function settled<T>(work: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(work);
  return Promise.all(work);
}
