// A worker thread of a conversion: converts strips of the files it is told to open.
import { parentPort, workerData } from "node:worker_threads";
import { serveConversions } from "../checkpoint/run/workers.ts";
import { openAt } from "../io/place.ts";
import { load } from "../load.ts";

/** What a worker is started with. */
export interface WorkerData {
  /** Paths or addresses of the shards, in the order of the checkpoint. */
  readonly paths: readonly string[];
}

const sources = await Promise.all((workerData as WorkerData).paths.map(openAt));
const engine = await load();
const port = parentPort!;
serveConversions(
  {
    post: (message, transfer) => port.postMessage(message, transfer),
    listen: (handler) => port.on("message", handler),
  },
  sources,
  engine,
);
