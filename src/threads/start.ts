import { BlockscaleError } from "../tensor/errors.ts";
import { isNode, type NodeThreads, nodeThreads } from "./node.ts";
import { errorOf, type Reply } from "./protocol.ts";

/**
 * The JavaScript that a worker runs: its script as text, and the same as a file for pages that allow no other
 * workers. Where such a page is bundled, the text may be left empty.
 */
export interface Script {
  readonly source: string;
  open(): Worker;
  /** Makes the worker, if this thread does not: see lend.ts. */
  readonly factory?: ThreadFactory | undefined;
}

/** A worker of whatever host this is, which answers each message, the first one too. */
export interface Thread {
  post(message: unknown, transfer?: Transferable[]): void;
  /** Whether the process stays alive for it. */
  keepAlive(isBusy: boolean): void;
  terminate(): Promise<void>;
}

export interface Listener {
  reply(reply: Reply): void;
  /** The worker is gone, or cannot be talked to. */
  died(reason: string): void;
}

/** Makes a worker of one kind. */
export type ThreadFactory = (listener: Listener) => Thread;

/**
 * Seconds to wait for a worker's first answer: of the first attempt, and of the second. Blocked workers
 * report an error, but now and then a worker that was made by a worker in Firefox never begins: it is made
 * anew, once.
 */
const START_SECONDS = [10, 30] as const;

/** A worker has not answered in time after its start. */
class StartTimeout extends Error {}

/** Whether this is the thread in which a page is drawn and its user is answered. */
export function isPage(): boolean {
  return "window" in globalThis && "document" in globalThis;
}

/**
 * Whether memory can be shared with workers. Pages without COOP and COEP
 * headers may make such memory and not send it.
 */
export function canShare(): boolean {
  const { crossOriginIsolated } = globalThis as { crossOriginIsolated?: boolean };
  return typeof SharedArrayBuffer === "function" && crossOriginIsolated !== false;
}

/** Whether this page allows no workers from text: then it is not asked again. */
let isTextRefused = false;

/**
 * Starts a worker and waits until it is ready for requests.
 * @throws BlockscaleError `option`: there are no workers here, or they are blocked
 */
export async function openThread(script: Script, start: unknown, listener: Listener): Promise<Thread> {
  const reasons: string[] = [];
  for (const factory of factoriesFor(script)) {
    try {
      const thread = await openWithRetry(factory, start, listener);
      isTextRefused ||= reasons.length > 0;
      return thread;
    } catch (error) {
      if (error instanceof BlockscaleError) throw error;
      reasons.push((error as Error).message);
    }
  }
  throw reasons.length > 0 ? blocked(reasons) : noWorkers();
}

/**
 * From text, which works in every bundler. A Content-Security-Policy can forbid that and allow a file: Vite
 * and webpack know the pattern below and emit the file.
 */
function factoriesFor({ source, open, factory }: Script): ThreadFactory[] {
  if (factory !== undefined) return [factory];
  const threads = nodeThreads();
  // Libraries give Node a global Worker of their own, which takes no blob.
  if (threads && (isNode() || typeof Worker !== "function"))
    return [(listener) => nodeThread(threads, source, listener)];
  if (typeof Worker === "function") {
    const file: ThreadFactory = (listener) => webThread(open(), listener);
    if (source === "" || isTextRefused) return [file];
    return [
      (listener) => {
        const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
        return webThread(new Worker(url, { type: "module" }), listener);
      },
      file,
    ];
  }
  return [];
}

async function openWithRetry(factory: ThreadFactory, start: unknown, listener: Listener): Promise<Thread> {
  const [first, second] = START_SECONDS;
  try {
    return await openBy(factory, start, listener, first);
  } catch (error) {
    if (!(error instanceof StartTimeout)) throw error;
    return openBy(factory, start, listener, second);
  }
}

function openBy(
  factory: ThreadFactory,
  start: unknown,
  listener: Listener,
  seconds: number,
): Promise<Thread> {
  let thread: Thread | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isOpen = false;
  return new Promise<Thread>((resolve, reject) => {
    timer = setTimeout(() => reject(new StartTimeout(`no answer in ${seconds} s`)), 1000 * seconds);
    const opening = factory({
      reply(reply) {
        if (isOpen) return listener.reply(reply);
        isOpen = true;
        if (reply.error) reject(errorOf(reply.error));
        else resolve(opening);
      },
      died(reason) {
        if (isOpen) listener.died(reason);
        else reject(new Error(reason));
      },
    });
    thread = opening;
    opening.keepAlive(true);
    opening.post(start);
  })
    .catch(async (error: Error) => {
      await thread?.terminate();
      throw error;
    })
    .finally(() => {
      clearTimeout(timer);
      thread?.keepAlive(false);
    });
}

/** Bun's workers can be let go of; elsewhere a page ends with its tab. */
function webThread(worker: Worker & { ref?(): void; unref?(): void }, listener: Listener): Thread {
  worker.onmessage = ({ data }: MessageEvent<Reply>) => listener.reply(data);
  worker.onmessageerror = () => listener.died("a message that cannot be read");
  worker.onerror = (event) => {
    event.preventDefault();
    listener.died(event.message || "its script was not loaded");
  };
  return {
    post: (message, transfer = []) => worker.postMessage(message, transfer),
    keepAlive: (isBusy) => (isBusy ? worker.ref?.() : worker.unref?.()),
    terminate: async () => worker.terminate(),
  };
}

/** Without the flags of the process: `node --eval` has some that no worker can be run with. */
function nodeThread(threads: NodeThreads, source: string, listener: Listener): Thread {
  const worker = new threads.Worker(source, { eval: true, execArgv: [] });
  worker.on("message", (reply: Reply) => listener.reply(reply));
  worker.on("error", (error: Error) => listener.died(error.message));
  worker.on("exit", (code: number) => listener.died(`exit code ${code}`));
  return {
    post: (message, transfer = []) => worker.postMessage(message, transfer),
    keepAlive: (isBusy) => (isBusy ? worker.ref() : worker.unref()),
    terminate: async () => {
      // The process waits for its end.
      worker.ref();
      await worker.terminate();
    },
  };
}

function noWorkers(): BlockscaleError {
  return new BlockscaleError("option", {
    where: "load: threads",
    expected: "a host with workers (a page, a web worker, Deno, Bun, or Node from 20.16 on)",
    got: "one without them",
    fix: "Leave `threads` out: the same products run in this thread.",
  });
}

function blocked(reasons: readonly string[]): BlockscaleError {
  return new BlockscaleError("option", {
    where: "load: threads",
    expected: "a host that starts workers",
    got: reasons.join("; "),
    fix: "Allow `worker-src blob:` in the Content-Security-Policy, or `worker-src 'self'` with dist/threads/worker.js of this package beside the script; or leave `threads` out.",
  });
}
