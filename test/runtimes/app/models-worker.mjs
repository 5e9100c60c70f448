// A web worker that opens models, whose threads its page makes.
import { fetched, modelProblems } from "./models.mjs";

self.onmessage = ({ data: { port } }) =>
  modelProblems(fetched, { threads: 2, workers: port }).then(
    (problems) => postMessage({ problems }),
    (error) => postMessage({ error: String(error) }),
  );
