// A web worker that starts workers, or has its page start them if that named it "lent".
import { threadProblems } from "./threads.mjs";

const run = (workers) =>
  threadProblems(workers).then(
    (problems) => postMessage({ problems }),
    (error) => postMessage({ error: String(error) }),
  );
if (self.name === "lent") self.onmessage = ({ data: { port } }) => run(port);
else run();
