// Vercel's edge runtime: the same as an event listener.
import { report } from "./report.mjs";

addEventListener("fetch", (event) =>
  event.respondWith(report().then((reports) => new Response(JSON.stringify(reports)))),
);
