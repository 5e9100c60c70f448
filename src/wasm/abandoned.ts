/** Absent in some edge runtimes. */
const registry =
  typeof FinalizationRegistry === "function"
    ? new FinalizationRegistry<() => void>((release) => release())
    : undefined;

/**
 * Calls `release` some time after the garbage collector has found that nobody can reach `owner` any more: the
 * net under memory of an engine that nobody freed. It may be late, so `free()` stays the way.
 * @param release must not lead to `owner`, or it lives for ever
 */
export function releaseAbandoned(owner: object, release: () => void): void {
  registry?.register(owner, release, owner);
}

/** The owner was freed: there is nothing left to release. */
export function cancelRelease(owner: object): void {
  registry?.unregister(owner);
}
