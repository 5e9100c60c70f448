// A server in front of the page's: what a test wants otherwise is answered here, everything else there.
import { createServer } from "node:http";

/**
 * Runs `body` with the URL of such a server.
 * @param answer takes (request, response) and returns true where it has answered or will
 * @param change takes (path, bytes) of what the page's server gave and returns what is to be sent
 */
export async function withFront({ url }, { answer = () => false, change = (_, bytes) => bytes }, body) {
  const server = createServer(async (request, response) => {
    try {
      if (answer(request, response)) return;
      const found = await fetch(new URL(request.url, url), { method: request.method });
      const bytes = Buffer.from(change(request.url, Buffer.from(await found.arrayBuffer())));
      // Unpacked by now.
      const { "content-encoding": _, ...headers } = Object.fromEntries(found.headers);
      response.writeHead(found.status, {
        ...headers,
        "content-length": bytes.length,
      });
      response.end(bytes);
    } catch {
      response.destroy(); // the page's server has stopped
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await body(`http://localhost:${server.address().port}/`);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}
