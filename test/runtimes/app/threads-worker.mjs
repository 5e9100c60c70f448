// A web worker that starts workers.
import { threadProblems } from "./threads.mjs";

threadProblems().then(
  (problems) => postMessage({ problems }),
  (error) => postMessage({ error: String(error) }),
);
