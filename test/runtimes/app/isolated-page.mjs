// A page with COOP and COEP headers, where memory can be shared.
import { lendModelWorkers } from "blockscale/model";
import { fetched, modelProblems } from "./models.mjs";
import { threadProblems } from "./threads.mjs";

/** Starts a worker of this name; what it says first. */
function answerOf(name, ...message) {
  return new Promise((resolve) => {
    const worker = new Worker(`/bundled/${name}.js`, { type: "module" });
    worker.onmessage = ({ data }) => resolve(data);
    worker.postMessage(...message);
  });
}

const worker = answerOf("threads-worker", null);
const page = threadProblems().then(
  (problems) => ({ problems: crossOriginIsolated ? problems : ["the page is not isolated", ...problems] }),
  (error) => ({ error: String(error) }),
);
const models = modelProblems(fetched, { threads: 2 }).then(
  (problems) => ({ problems }),
  (error) => ({ error: String(error) }),
);
const { port, close } = lendModelWorkers();
const results = {
  "threads, page with COOP and COEP": await page,
  "threads, web worker with COOP and COEP": await worker,
  "models, 2 threads": await models,
  "models, 2 threads of the page in a web worker": await answerOf("models-worker", { port }, [port]),
};
await close();
await fetch("/results", { method: "POST", body: JSON.stringify({ results }) });
