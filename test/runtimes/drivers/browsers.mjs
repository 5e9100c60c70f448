// Chromium, Firefox and WebKit: the suite in every kind of thread, bundled, and the README's pages, unbundled.
import { verdict } from "../judge.mjs";
import { bundleForBrowsers } from "./bundle.mjs";
import { BROWSERS, open } from "./launch.mjs";
import { serve } from "./server.mjs";

const ENTRIES = ["page", "web-worker", "service-worker", "strict-page"].map((name) => `${name}.mjs`);

const PAGES = { "/page.html": "/bundled/page.js", "/strict.html": "/bundled/strict-page.js" };

const BUILDS = { "page without WebAssembly (CSP)": "js" };

function snippetVerdict(runtime, version, place, { shown, error }) {
  const problems = shown?.includes("scales 118,119") ? [] : [error ?? `showed ${shown}`];
  return { runtime, version, place, build: shown?.split(":")[0] ?? "", problems };
}

export const browsers = Object.keys(BROWSERS).map((name) => ({
  name,
  async drive({ path: project }) {
    const { build, version } = BROWSERS[name];
    await bundleForBrowsers(project, ENTRIES);
    const server = await serve(project, PAGES);
    try {
      const posted = await open(name, `${server.origin}/page.html`, server.posted());
      const { results } = JSON.parse(posted);
      const number = await version();
      return Object.entries(results).map(([place, found]) =>
        place.startsWith("snippet")
          ? snippetVerdict(name, number, place, found)
          : verdict(name, number, place, BUILDS[place] ?? build, found),
      );
    } finally {
      server.close();
    }
  },
}));
