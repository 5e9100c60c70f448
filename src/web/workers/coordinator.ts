import { PageCoordinator } from "./page-coordinator.ts";
import { StripPool } from "./pool.ts";
import { problemOf } from "./problem.ts";
import type { Call, Reply, WorkerPorts } from "./protocol.ts";

declare const self: DedicatedWorkerGlobalScope;

const send = (reply: Reply): void => self.postMessage(reply);
let pool: StripPool;
let coordinator: PageCoordinator;

self.onmessage = async ({ data }: MessageEvent<WorkerPorts | Call>): Promise<void> => {
  if ("ports" in data) {
    pool = new StripPool(data.ports);
    coordinator = new PageCoordinator(pool, (progress) => send({ progress }));
    return;
  }
  if ("lost" in data) {
    pool.fail(data.lost);
    return;
  }
  const { id, method, args } = data;
  try {
    const work = coordinator[method] as (...args: unknown[]) => Promise<unknown>;
    send({ id, value: await work.apply(coordinator, [...args]) });
  } catch (error) {
    send({ id, problem: problemOf(error) });
  }
};
