// A server in front of an S3 server that fails as object storage does now and then.
import { createServer, request } from "node:http";
import { setTimeout } from "node:timers/promises";

/** What happens to one request in so many. */
const ONE_IN = 10;

/**
 * Passes requests on to a server; some fail with 500 or 503, before they are done or when they are,
 * some answers are late and some end early.
 * @param random gives numbers from 0 to 1
 * @returns its port, and how often what has happened
 */
export async function startFaults(port, random) {
  const counts = { 500: 0, 503: 0, "done, and 500": 0, late: 0, short: 0 };
  const kinds = Object.keys(counts);
  let faults = 0;
  const server = createServer(async (incoming, outgoing) => {
    // Kinds in turn, so that each has happened after a few.
    const kind = random() < 1 / ONE_IN ? kinds[faults++ % kinds.length] : "none";
    if (kind !== "none") counts[kind]++;
    const fail = (status) => {
      incoming.resume();
      outgoing.writeHead(status, { "content-type": "application/xml" });
      outgoing.end("<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>");
    };
    if (kind === "500" || kind === "503") return fail(Number(kind));
    if (kind === "late") await setTimeout(1500);
    const { method, url, headers } = incoming;
    const passed = request({ port, host: "127.0.0.1", method, path: url, headers }, async (answer) => {
      if (kind === "done, and 500") {
        answer.resume();
        return fail(500);
      }
      outgoing.writeHead(answer.statusCode, answer.headers);
      if (kind !== "short") return answer.pipe(outgoing);
      const [first] = (await answer.toArray()).map((chunk) => chunk.subarray(0, chunk.length / 2));
      outgoing.write(first ?? "", () => outgoing.destroy());
    });
    passed.on("error", () => outgoing.destroy());
    incoming.pipe(passed);
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  server.unref();
  return { port: server.address().port, counts };
}
