import type { Command } from "commander";
import { status, work } from "../queue.ts";
import { gather, numberWithin, withThreads } from "./options.ts";

/** worker and status. */
export function queueCommands(command: Command, signal: AbortSignal): void {
  const queue = ["--queue <redis>", "redis://HOST:PORT, or rediss:// for TLS"] as const;
  withThreads(command.command("worker"), "threads for one job; left out, one for each core")
    .description("do jobs of quantize, dequantize and evaluate --queue, until it is stopped")
    .requiredOption(...queue)
    .option(
      "--allow <place>",
      "a folder, or the beginning of an address, that jobs may use (repeatable); the current folder if left out",
      gather,
    )
    .option(
      "--stalled-after <s>",
      "seconds without a message from a worker after which its job is given to another",
      numberWithin(1, 3600),
      30,
    )
    .action((flags) => work(flags, signal));
  command
    .command("status")
    .description("show the jobs of a queue and the training run that meets there, and how far they are")
    .requiredOption(...queue)
    .option("--json", "print as JSON")
    .action((flags) => status(flags));
}
