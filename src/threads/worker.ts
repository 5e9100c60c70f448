// What a worker of `load({ threads })` runs: its share of every product.

import { engineOf, GemmRunner } from "./gemm-runner.ts";
import type { Message } from "./protocol.ts";
import { serveMessages } from "./serve.ts";
import { ANSWERED, ASKED, type Counters, spinUntil } from "./spin.ts";

/** How long a worker spins for the next request before it sleeps. */
const SPIN_MILLISECONDS = 0.3;

let runner: GemmRunner | undefined;
let counters: Counters | undefined;
let received = 0;

serveMessages<Message>(
  (message) => {
    if ("id" in message) return (runner as GemmRunner).run(message.task);
    runner = new GemmRunner(engineOf(message));
    counters = message.counters;
    return undefined;
  },
  ({ id }) => {
    if (counters === undefined || id === undefined) return;
    Atomics.add(counters, ANSWERED, 1);
    spinUntil(counters, ASKED, ++received + 1, SPIN_MILLISECONDS);
  },
);
