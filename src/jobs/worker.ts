// A worker thread: converts strips of the files it is told to open, or compares them with strips of others.
import { parentPort, workerData } from "node:worker_threads";
import { compareStrip, type StripComparison } from "../checkpoint/measure/compare.ts";
import { type Port, serveConversions, serveRequests } from "../checkpoint/run/workers.ts";
import { openAt } from "../io/place.ts";
import { load } from "../load.ts";
import type { ComparisonRequest, WorkerData } from "./threads.ts";

const { paths, others } = workerData as WorkerData;
const open = (places: readonly string[]) => Promise.all(places.map(openAt));
const sources = await open(paths);
const otherSources = others === undefined ? undefined : await open(others);
const engine = await load();
const port: Port = {
  post: (message, transfer) => parentPort!.postMessage(message, transfer),
  listen: (handler) => parentPort!.on("message", handler),
};
if (otherSources === undefined) serveConversions(port, sources, engine);
else
  serveRequests<ComparisonRequest, StripComparison>(port, async ({ pair, strip }) => ({
    result: await compareStrip(pair, strip, [sources, otherSources], engine),
    transfer: [],
  }));
