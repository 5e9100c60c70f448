// A browser page: runs the suite in every kind of thread, and posts each report to the server.
import { fetched, modelProblems } from "./models.mjs";
import { report } from "./report.mjs";
import { threadProblems } from "./threads.mjs";

function reply(target, ask = () => {}) {
  return new Promise((resolve, reject) => {
    target.onmessage = ({ data }) => resolve(data);
    target.onerror = ({ message }) => reject(new Error(message));
    ask();
  });
}

async function serviceWorker() {
  await navigator.serviceWorker.register("/bundled/service-worker.js", { type: "module", scope: "/" });
  const { active } = await navigator.serviceWorker.ready;
  return reply(navigator.serviceWorker, () => active.postMessage(null));
}

function inFrame(url) {
  const frame = document.createElement("iframe");
  frame.src = url;
  return reply(window, () => document.body.append(frame));
}

/**
 * Opens a page of the README and waits for what it shows; once more if that is nothing, for a browser on a
 * busy machine may lose a worker. It is said then.
 */
async function snippet(name) {
  const first = await shownBy(name);
  return first.error ? { ...(await shownBy(name)), isSecondTry: true } : first;
}

async function shownBy(name) {
  const frame = document.createElement("iframe");
  frame.src = `/snippets/${name}`;
  document.body.append(frame);
  for (let i = 0; i < 600; i++) {
    const text = frame.contentDocument?.querySelector("output")?.textContent ?? "working";
    if (text !== "working") return { shown: text };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { error: "nothing shown in thirty seconds" };
}

const PLACES = {
  "main thread": report,
  "web worker": () => reply(new Worker("/bundled/web-worker.js", { type: "module" })),
  "service worker": serviceWorker,
  "page without WebAssembly (CSP)": () => inFrame("/strict.html"),
  models: async () => ({ problems: await modelProblems(fetched) }),
  threads: async () => ({ problems: await threadProblems() }),
  "threads, web worker": () => reply(new Worker("/bundled/threads-worker.js", { type: "module" })),
  "threads, CSP worker-src blob:": () => inFrame("/workers-blob.html"),
  "threads, CSP worker-src 'self'": () => inFrame("/workers-self.html"),
  "threads, CSP worker-src 'none'": () => inFrame("/workers-blocked.html"),
  "snippet browser.html": () => snippet("browser.html"),
  "snippet browser-worker.html": () => snippet("browser-worker.html"),
  "snippet no-webassembly.html": () => snippet("no-webassembly.html"),
};

const results = {};
for (const [place, ask] of Object.entries(PLACES)) {
  results[place] = await ask().catch((error) => ({ error: String(error) }));
}
await fetch("/results", { method: "POST", body: JSON.stringify({ agent: navigator.userAgent, results }) });
location.href = "/isolated.html";
