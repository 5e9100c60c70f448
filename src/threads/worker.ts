import { BlockscaleError } from "../tensor/errors.ts";
import { nodeThreads } from "./node.ts";
import type { Message, Reply } from "./protocol.ts";
import { Share } from "./share.ts";
import { ANSWERED, ASKED, type Counters, spinUntil } from "./spin.ts";

/** What a worker of `load({ threads })` runs: its share of every product. */

/** How long a worker spins for the next request before it sleeps. */
const SPIN_MILLISECONDS = 0.3;

let share: Share | undefined;
let counters: Counters | undefined;
let received = 0;

function answer(message: Message): Reply {
  const id = "id" in message ? message.id : undefined;
  try {
    if ("id" in message) return { id, result: (share as Share).run(message.task) };
    share = new Share(message);
    counters = message.counters;
    return { id };
  } catch (error) {
    if (error instanceof BlockscaleError) return { id, error: { code: error.code, fault: error.fault } };
    return { id, error: { message: String(error) } };
  }
}

function receive(message: Message, post: (reply: Reply, transfer: ArrayBuffer[]) => void): void {
  const reply = answer(message);
  post(reply, reply.result ? [reply.result.buffer as ArrayBuffer] : []);
  if (counters === undefined || reply.id === undefined) return;
  Atomics.add(counters, ANSWERED, 1);
  spinUntil(counters, ASKED, ++received + 1, SPIN_MILLISECONDS);
}

const port = nodeThreads()?.parentPort;
if (port) {
  port.on("message", (message: Message) => receive(message, (...reply) => port.postMessage(...reply)));
} else {
  const scope = globalThis as unknown as {
    onmessage: (event: { data: Message }) => void;
    postMessage(message: Reply, transfer: ArrayBuffer[]): void;
  };
  scope.onmessage = ({ data }) => receive(data, (...reply) => scope.postMessage(...reply));
}
