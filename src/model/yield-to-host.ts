/**
 * Lets the event loop run other tasks first: timers, signals such as Ctrl-C, pending output. Awaiting
 * promises alone does not: microtasks run to the end before any other task.
 */
export function yieldToHost(): Promise<void> {
  // Pages have no such function, nor a type for it.
  const { setImmediate } = globalThis as { setImmediate?: (callback: () => void) => void };
  return new Promise((resolve) => {
    if (setImmediate !== undefined) {
      setImmediate(resolve);
    } else if (typeof MessageChannel === "function") {
      // Timers of nested tasks wait for 4 ms in browsers; messages do not.
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      port2.postMessage(null);
    } else setTimeout(resolve, 0);
  });
}
