import { kindOf } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { Reply } from "./protocol.ts";
import { openThread, type Script, type Thread, type ThreadFactory } from "./start.ts";

/**
 * Workers that a page makes for another worker, which uses them. In Firefox some workers that were made by a
 * worker never begin; those made by a page do.
 */
export interface LentWorkers {
  /** For the worker that uses them, and to be transferred to it. */
  readonly port: MessagePort;
  /** Ends all of them, also those in use. Call it too when the worker that uses them was terminated. */
  close(): Promise<void>;
}

/** What a thread asks its lender for: a worker, with these ports. */
interface WorkerRequest {
  /** The worker answers here. */
  readonly work: MessagePort;
  /** Says why the worker is dead; any message to it ends the worker. */
  readonly control: MessagePort;
}

/** To a worker: ports that it answers from now on, as it answers who has made it. */
export interface AnswerPorts {
  readonly ports: readonly MessagePort[];
}

/** Makes workers for whoever has the port. */
export function lendWorkers(script: Script): LentWorkers {
  const { port1: requests, port2: port } = new MessageChannel();
  const lent = new Set<Promise<LentWorker>>();
  requests.onmessage = ({ data }: MessageEvent<WorkerRequest>) => {
    const lending: Promise<LentWorker> = lend(script, data, () => lent.delete(lending));
    lent.add(lending);
  };
  return {
    port,
    async close() {
      requests.close();
      await Promise.all([...lent].map(async (lending) => (await lending).close()));
    },
  };
}

interface LentWorker {
  /** Ends the worker, and tells who uses it. */
  close(): Promise<void>;
}

/** @param ended is called when the worker is no longer wanted */
async function lend(
  script: Script,
  { work, control }: WorkerRequest,
  ended: () => void,
): Promise<LentWorker> {
  const died = (reason: string): void => control.postMessage(reason);
  let thread: Thread | undefined;
  try {
    // A port can be sent once, and a silent worker is made anew: the first message has none.
    thread = await openThread(script, { ports: [] } satisfies AnswerPorts, { reply: () => {}, died });
    thread.post({ ports: [work] } satisfies AnswerPorts, [work]);
  } catch (error) {
    died((error as Error).message);
  }
  control.onmessage = () => {
    ended();
    control.close();
    void thread?.terminate();
  };
  return {
    async close() {
      died("its lender ended it");
      await thread?.terminate();
    },
  };
}

/** The script whose workers are made by whoever has the other end of a lent port, if there is one. */
export function lentScript(script: Script, lender: MessagePort | undefined): Script {
  return lender === undefined ? script : { ...script, factory: lentFactory(lender) };
}

/** @throws BlockscaleError `option`: what should be a lent port is none */
export function checkPort(where: string, workers: MessagePort | undefined): void {
  if (workers === undefined || workers instanceof MessagePort) return;
  throw new BlockscaleError("option", {
    where: `${where}: workers`,
    expected: "the port of workers that the page lends",
    got: kindOf(workers),
    fix: "The page sends it: postMessage({ port }, [port]).",
  });
}

/** A factory whose workers are made by whoever has the other end of the port that was lent. */
export const lentFactory =
  (lender: MessagePort): ThreadFactory =>
  (listener) => {
    const { port1: work, port2: workerEnd } = new MessageChannel();
    const { port1: control, port2: lenderEnd } = new MessageChannel();
    const request: WorkerRequest = { work: workerEnd, control: lenderEnd };
    lender.postMessage(request, [workerEnd, lenderEnd]);
    work.onmessage = ({ data }: MessageEvent<Reply>) => listener.reply(data);
    work.onmessageerror = () => listener.died("a message that cannot be read");
    control.onmessage = ({ data }: MessageEvent<string>) => listener.died(data);
    return {
      post: (message, transfer = []) => work.postMessage(message, transfer),
      keepAlive: () => {},
      terminate: async () => {
        work.close();
        control.postMessage(null);
      },
    };
  };
