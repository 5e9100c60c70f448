declare const self: ServiceWorkerGlobalScope;

/** Put in by the build: every file of the page, and a name that changes with their contents. */
declare const FILES: readonly string[];
declare const VERSION: string;

const PREFIX = "blockscale-page-";
const CACHE = PREFIX + VERSION;

/** Files that are fetched when they are asked for, and kept from then on. */
const EXAMPLE = /\/examples\/[\w/-]+\.\w+$/;

/**
 * A response with the headers that let threads share memory, for hosts that set none. Nothing is lost by
 * them: all that the page takes from others is fetched by CORS.
 */
function isolated(response: Response): Response {
  if (response.type === "opaqueredirect" || response.status === 0) return response;
  const headers = new Headers(response.headers);
  headers.set("cross-origin-opener-policy", "same-origin");
  headers.set("cross-origin-embedder-policy", "require-corp");
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers });
}

// A new version waits until no tab shows the old one, and takes over no tab that is open already: page and
// workers are always of one version. (Taken over while it starts workers, a page in Firefox may wait for them
// forever.)
self.addEventListener("install", (event) => {
  // The HTTP cache may hold files of an older version, so the server is asked whether each one has changed.
  const requests = FILES.map((file) => new Request(file, { cache: "no-cache" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(requests)));
});

self.addEventListener("activate", (event) => {
  const clean = async () => {
    const old = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CACHE);
    await Promise.all(old.map((name) => caches.delete(name)));
  };
  event.waitUntil(clean());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || new URL(request.url).origin !== self.location.origin) return;
  const answer = async () => {
    const cache = await caches.open(CACHE);
    const kept = await cache.match(request, { ignoreSearch: true });
    if (kept !== undefined) return isolated(kept);
    const found = await fetch(request);
    if (found.ok && EXAMPLE.test(request.url)) await cache.put(request, found.clone());
    return isolated(found);
  };
  event.respondWith(answer());
});
