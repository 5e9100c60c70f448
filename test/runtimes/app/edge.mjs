// Vercel's edge runtime: the same as an event listener.
import { report } from "./report.mjs";
import { threadRefusal } from "./threads.mjs";

async function answer({ url }) {
  const found = url.endsWith("/threads") ? threadRefusal(/expected a host with workers/) : report();
  return new Response(JSON.stringify(await found));
}

addEventListener("fetch", (event) => event.respondWith(answer(event.request)));
