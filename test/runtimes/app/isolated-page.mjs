// A page with COOP and COEP headers, where memory can be shared.
import { fetched, modelProblems } from "./models.mjs";
import { threadProblems } from "./threads.mjs";

const worker = new Promise((resolve) => {
  new Worker("/bundled/threads-worker.js", { type: "module" }).onmessage = ({ data }) => resolve(data);
});
const page = threadProblems().then(
  (problems) => ({ problems: crossOriginIsolated ? problems : ["the page is not isolated", ...problems] }),
  (error) => ({ error: String(error) }),
);
const models = modelProblems(fetched, { threads: 2 }).then(
  (problems) => ({ problems }),
  (error) => ({ error: String(error) }),
);
const results = {
  "threads, page with COOP and COEP": await page,
  "threads, web worker with COOP and COEP": await worker,
  "models, 2 threads": await models,
};
await fetch("/results", { method: "POST", body: JSON.stringify({ results }) });
