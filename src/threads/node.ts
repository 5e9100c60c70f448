// A file of its own: worker.ts must not import what names worker.ts as a worker, or Next's Turbopack builds
// for ever.

/** The parts of node:worker_threads that are used. */
export interface NodeThreads {
  readonly Worker: new (
    source: string,
    options: { eval: true; execArgv: string[] },
  ) => {
    postMessage(message: unknown, transfer?: readonly Transferable[]): void;
    on(event: string, listener: (value: never) => void): void;
    terminate(): Promise<number>;
    unref(): void;
    ref(): void;
  };
  readonly parentPort: {
    postMessage(message: unknown, transfer?: readonly ArrayBuffer[]): void;
    on(event: "message", listener: (message: never) => void): void;
  } | null;
}

/**
 * Node's threads, or undefined elsewhere. Asked of `process`, because an import of them would be
 * in the way of every bundler for the web.
 */
export function nodeThreads(): NodeThreads | undefined {
  const { process } = globalThis as { process?: { getBuiltinModule?(name: string): unknown } };
  return process?.getBuiltinModule?.("node:worker_threads") as NodeThreads | undefined;
}

/** Whether this is Node itself, and no page: Deno and Bun pass for it, and have workers of the web's kind. */
export function isNode(): boolean {
  const { process } = globalThis as { process?: { versions?: Record<string, string> } };
  const { node, deno, bun } = process?.versions ?? {};
  return node !== undefined && deno === undefined && bun === undefined && !("document" in globalThis);
}
