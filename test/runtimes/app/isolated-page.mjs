// A page with COOP and COEP headers, where memory can be shared.
import { threadProblems } from "./threads.mjs";

const worker = new Promise((resolve) => {
  new Worker("/bundled/threads-worker.js", { type: "module" }).onmessage = ({ data }) => resolve(data);
});
const page = threadProblems().then(
  (problems) => ({ problems: crossOriginIsolated ? problems : ["the page is not isolated", ...problems] }),
  (error) => ({ error: String(error) }),
);
const results = {
  "threads, page with COOP and COEP": await page,
  "threads, web worker with COOP and COEP": await worker,
};
await fetch("/results", { method: "POST", body: JSON.stringify({ results }) });
