import { BlockscaleError } from "../errors.ts";
import { type NodeThreads, nodeThreads } from "./node.ts";
import type { Reply, Request, Start } from "./protocol.ts";

/** A worker of whatever host this is. */
export interface Thread {
  post(message: Start | Request, transfer?: ArrayBuffer[]): void;
  /** Whether the process waits for it. */
  hold(isBusy: boolean): void;
  terminate(): Promise<void>;
}

export interface Listener {
  reply(reply: Reply): void;
  /** The worker is gone, or cannot be talked to. */
  died(reason: string): void;
}

/** Starts a worker that has to be sent a {@link Start} first. */
export function startThread(listener: Listener): Thread {
  if (typeof Worker === "function") return startWebWorker(listener);
  const threads = nodeThreads();
  if (threads) return startNodeWorker(threads, listener);
  throw new BlockscaleError("option", {
    where: "load: threads",
    expected: "a host with workers (a page, Deno, Bun, or Node from 20.16 on)",
    got: "one without them",
    fix: "Leave `threads` out: the same products run in this thread.",
  });
}

function startWebWorker(listener: Listener): Thread {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }: MessageEvent<Reply>) => listener.reply(data);
  worker.onmessageerror = () => listener.died("a message that cannot be read");
  worker.onerror = (event) => {
    event.preventDefault();
    listener.died(event.message || "an error while it was loaded");
  };
  return {
    post: (message, transfer = []) => worker.postMessage(message, transfer),
    hold: () => {},
    terminate: async () => worker.terminate(),
  };
}

/** Without the flags of the process: `node --eval` has some that no file can be run with. */
function startNodeWorker(threads: NodeThreads, listener: Listener): Thread {
  const worker = new threads.Worker(new URL("./worker.js", import.meta.url), { execArgv: [] });
  worker.on("message", (reply: Reply) => listener.reply(reply));
  worker.on("error", (error: Error) => listener.died(error.message));
  worker.on("exit", (code: number) => listener.died(`exit code ${code}`));
  worker.unref();
  return {
    post: (message, transfer = []) => worker.postMessage(message, transfer),
    hold: (isBusy) => (isBusy ? worker.ref() : worker.unref()),
    terminate: async () => {
      // The process waits for its end.
      worker.ref();
      await worker.terminate();
    },
  };
}
