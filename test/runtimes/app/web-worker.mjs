// A web worker: posts the report to the page.
import { report } from "./report.mjs";

report().then(postMessage, (error) => postMessage({ error: String(error) }));
