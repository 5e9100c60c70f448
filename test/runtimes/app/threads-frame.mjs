// A page whose Content-Security-Policy says which workers it may start; its name says what should come of it.
import { threadProblems, threadRefusal } from "./threads.mjs";

const isBlocked = location.pathname.includes("blocked");
const found = isBlocked
  ? threadRefusal(/expected a host that starts workers.*worker-src blob:/)
  : threadProblems();
found.then(
  (problems) => parent.postMessage({ problems }),
  (error) => parent.postMessage({ error: String(error) }),
);
