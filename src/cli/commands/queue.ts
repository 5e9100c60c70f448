import type { Command } from "commander";
import { status, work } from "../queue.ts";
import { jobs, several, within } from "./options.ts";

/** worker and status. */
export function queueCommands(command: Command, signal: AbortSignal): void {
  const queue = ["--queue <redis>", "redis://HOST:PORT, or rediss:// for TLS"] as const;
  command
    .command("worker")
    .description("do the jobs of quantize, dequantize and evaluate --queue, until told to stop")
    .requiredOption(...queue)
    .option("--jobs <n>", "threads of one job, if not one for each core", jobs)
    .option(
      "--allow <place>",
      "a folder, or the beginning of an address, that jobs may use (repeatable); the current folder if left out",
      several,
    )
    .option("--stalled-after <s>", "seconds without a sign of life that lose a job", within(1, 3600), 30)
    .action((flags) => work(flags, signal));
  command
    .command("status")
    .description("show what a queue holds")
    .requiredOption(...queue)
    .option("--json", "print as JSON")
    .action((flags) => status(flags));
}
