// A page with COOP and COEP headers, where memory can be shared.
import { lendEngineWorkers } from "blockscale";
import { lendModelWorkers } from "blockscale/model";
import { fetched, modelProblems } from "./models.mjs";
import { threadProblems } from "./threads.mjs";

/** Starts a worker of this script, with a port that lends it threads; what it says first. */
function answerOf(script, port) {
  return new Promise((resolve) => {
    const name = port === undefined ? "" : "lent";
    const worker = new Worker(`/bundled/${script}.js`, { type: "module", name });
    worker.onmessage = ({ data }) => resolve(data);
    if (port !== undefined) worker.postMessage({ port }, [port]);
  });
}

const worker = answerOf("threads-worker");
const page = threadProblems().then(
  (problems) => ({ problems: crossOriginIsolated ? problems : ["the page is not isolated", ...problems] }),
  (error) => ({ error: String(error) }),
);
const models = modelProblems(fetched, { threads: 2 }).then(
  (problems) => ({ problems }),
  (error) => ({ error: String(error) }),
);
const engines = await lendEngineWorkers();
const lent = lendModelWorkers();
const results = {
  "threads, page with COOP and COEP": await page,
  "threads, web worker with COOP and COEP": await worker,
  "threads of the page in a web worker": await answerOf("threads-worker", engines.port),
  "models, 2 threads": await models,
  "models, 2 threads of the page in a web worker": await answerOf("models-worker", lent.port),
};
await engines.close();
await lent.close();
await fetch("/results", { method: "POST", body: JSON.stringify({ results }) });
