// What a worker of `load({ threads })` runs: its share of every product.
import type { Message } from "./protocol.ts";
import { serveMessages } from "./serve.ts";
import { ANSWERED, ASKED, type Counters, spinUntil } from "./spin.ts";
import { engineOf, TaskRunner } from "./task-runner.ts";

/** How long a worker spins for the next request before it sleeps. */
const SPIN_MILLISECONDS = 0.3;

let runner: TaskRunner | undefined;
let counters: Counters | undefined;
let received = 0;

serveMessages<Message>(
  (message) => {
    if ("id" in message) return (runner as TaskRunner).run(message.task);
    runner = new TaskRunner(engineOf(message));
    counters = message.counters;
    return undefined;
  },
  ({ id }) => {
    if (counters === undefined || id === undefined) return;
    Atomics.add(counters, ANSWERED, 1);
    spinUntil(counters, ASKED, ++received + 1, SPIN_MILLISECONDS);
  },
);
