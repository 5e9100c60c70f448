import { openThread, type Script, type Thread, type Wanted } from "./start.ts";

/**
 * Workers that a page makes for another worker, which uses them. A worker that is made by a worker now and then
 * never begins in Firefox; one that is made by a page does.
 */
export interface LentWorkers {
  /** For the worker that uses them, and to be transferred to it. */
  readonly port: MessagePort;
  /** Ends all of them. Call it too when the worker that uses them was terminated. */
  close(): Promise<void>;
}

/** To a worker: ports that it answers from now on, as it answers who has made it. */
export interface Answering {
  readonly ports: readonly MessagePort[];
}

/** Makes workers for whoever has the port. */
export function lendWorkers(script: Script): LentWorkers {
  const { port1: requests, port2: port } = new MessageChannel();
  const lent: Promise<Thread | undefined>[] = [];
  requests.onmessage = ({ data }: MessageEvent<Wanted>) => void lent.push(lend(script, data));
  return {
    port,
    async close() {
      requests.close();
      for (const thread of await Promise.all(lent)) await thread?.terminate();
    },
  };
}

async function lend(script: Script, { work, control }: Wanted): Promise<Thread | undefined> {
  const died = (reason: string): void => control.postMessage(reason);
  const listener = { reply: () => {}, died };
  try {
    // A port can be sent once, and a silent worker is made anew: the first message has none.
    const thread = await openThread(script, { ports: [] } satisfies Answering, listener);
    control.onmessage = () => {
      control.close();
      void thread.terminate();
    };
    thread.post({ ports: [work] } satisfies Answering, [work]);
    return thread;
  } catch (error) {
    died((error as Error).message);
    return undefined;
  }
}
