import { CheckpointSession } from "./checkpoint-session.ts";
import { problemOf } from "./problem.ts";
import type { Call, Reply } from "./protocol.ts";

declare const self: DedicatedWorkerGlobalScope;

const send = (reply: Reply): void => self.postMessage(reply);
const session = new CheckpointSession((progress) => send({ progress }));

self.onmessage = async ({ data: { id, method, args } }: MessageEvent<Call>): Promise<void> => {
  try {
    const work = session[method] as (...args: unknown[]) => Promise<unknown>;
    send({ id, value: await work.apply(session, [...args]) });
  } catch (error) {
    send({ id, problem: problemOf(error) });
  }
};
