// What bull-board, a dashboard of BullMQ, shows of a queue. It is installed into a folder for the time of the test.
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const PACKAGES = ["@bull-board/api@9.10.1", "@bull-board/express@9.10.1", "express@5.3.0"];
const OURS = fileURLToPath(new URL("../../node_modules/bullmq", import.meta.url));

/** @returns what `showOn` needs */
export async function installDashboard(folder) {
  const at = join(folder, "dashboard");
  mkdirSync(at);
  writeFileSync(join(at, "package.json"), '{ "private": true }');
  const flags = ["--ignore-scripts", "--no-audit", "--no-fund"];
  await promisify(execFile)("npm", ["install", ...flags, ...PACKAGES], { cwd: at });
  // It looks for the library of the queue beside itself.
  symlinkSync(OURS, join(at, "node_modules/bullmq"));
  return createRequire(join(at, "package.json"));
}

/**
 * Serves a queue as its users would.
 * @returns its page, and by state what it would show: counts of the queue, and jobs
 */
export async function showOn(require, queue, states) {
  const { createBullBoard } = require("@bull-board/api");
  const { BullMQAdapter } = require("@bull-board/api/bullMQAdapter");
  const { ExpressAdapter } = require("@bull-board/express");
  const serverAdapter = new ExpressAdapter();
  createBullBoard({ queues: [new BullMQAdapter(queue)], serverAdapter });
  const app = require("express")();
  app.use("/", serverAdapter.getRouter());
  const server = app.listen(0, "127.0.0.1");
  try {
    await once(server, "listening");
    const ask = (path) => fetch(`http://127.0.0.1:${server.address().port}${path}`);
    const page = await (await ask("/")).text();
    const shown = {};
    for (const state of states) {
      const address = `/api/queues?activeQueue=${queue.name}&status=${state}&page=1&jobsPerPage=100`;
      shown[state] = (await (await ask(address)).json()).queues[0];
    }
    return { page, shown };
  } finally {
    server.close();
    server.closeAllConnections();
  }
}
