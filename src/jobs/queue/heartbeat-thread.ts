// A thread that sets the key of a rank again and again: see heartbeat.ts.
import { parentPort, workerData } from "node:worker_threads";
import { openRedis, retryStrategy } from "./connection.ts";
import type { HeartbeatData } from "./heartbeat.ts";
import { BEAT_EVERY, beat } from "./training-run.ts";

const redis = await openRedis({ ...(workerData as HeartbeatData), retryStrategy });
let key: string | null = null;
parentPort!.on("message", (another: string) => {
  key = another;
});
setInterval(() => {
  // While Redis is away the command waits for it.
  if (key !== null) beat(redis, key).catch(() => {});
}, BEAT_EVERY);
parentPort!.postMessage("ready");
