declare const self: ServiceWorkerGlobalScope;

/** Put in by the build: every file of the page, and a name that changes with their contents. */
declare const FILES: readonly string[];
declare const VERSION: string;

const PREFIX = "blockscale-page-";
const CACHE = PREFIX + VERSION;

// A new version waits until no tab shows the old one, and takes over no tab that is open already: page and workers are
// always of one version. (Taken over while it starts workers, a page in Firefox may wait for them forever.)
self.addEventListener("install", (event) => {
  // Past the HTTP cache, which may hold files of an older version.
  const requests = FILES.map((file) => new Request(file, { cache: "reload" }));
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
    return (await cache.match(request, { ignoreSearch: true })) ?? fetch(request);
  };
  event.respondWith(answer());
});
