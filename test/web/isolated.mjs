// A page of another program that uses the package: isolated, so that its workers can share memory.
import { createServer } from "node:http";
import { join } from "node:path";
import { build } from "esbuild";
import { launch } from "./browser.mjs";

/**
 * Opens a page that runs a script, bundled from the package's own files.
 * @param contents imports from "./train/index.js" and the like; has to set `window.isReady` at its end
 */
export async function withScript(env, contents, action) {
  const options = { bundle: true, format: "esm", write: false, logLevel: "error" };
  const stdin = { contents, resolveDir: join(env.root, "dist") };
  const [script] = (await build({ ...options, stdin })).outputFiles;
  const pages = {
    "/": ["text/html", "<!doctype html><script type=module src=/script.js></script>"],
    "/script.js": ["text/javascript", script.text],
  };
  const server = createServer(({ url }, response) => {
    const [type, text] = pages[url] ?? ["text/plain", ""];
    response.writeHead(url in pages ? 200 : 404, {
      "content-type": type,
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
    });
    response.end(text);
  });
  await new Promise((resolve) => server.listen(0, "localhost", resolve));
  const browser = await launch(env.browser);
  try {
    const page = await browser.context.newPage();
    await page.goto(`http://localhost:${server.address().port}/`);
    await page.waitForFunction(() => window.isReady);
    await action(page);
  } finally {
    await browser.close();
    server.closeAllConnections();
    server.close();
  }
}
