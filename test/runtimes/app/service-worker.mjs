// A service worker: takes over the page and answers when asked.
import { report } from "./report.mjs";

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("message", ({ source }) =>
  report().then(
    (reports) => source.postMessage(reports),
    (error) => source.postMessage({ error: String(error) }),
  ),
);
