import { Command, CommanderError } from "commander";
import { BlockscaleError } from "../tensor/errors.ts";
import { checkpointCommands } from "./commands/checkpoints.ts";
import { evaluationCommand, sensitivityCommand } from "./commands/measuring.ts";
import { modelCommands } from "./commands/models.ts";
import { queueCommands } from "./commands/queue.ts";
import { trainingCommand } from "./commands/training.ts";
import * as figures from "./figures.ts";
import { INTERRUPTED, interruption } from "./interruption.ts";
import { printError, printUsageError } from "./print.ts";
import { version } from "./version.ts";

function program(signal: AbortSignal): Command {
  const command = new Command("blockscale")
    .description("Converts, inspects and runs block-scaled FP8 checkpoints: no GPU, no Python.")
    .version(version())
    .exitOverride()
    .configureOutput({
      outputError: (message, write) => write(figures.lines(message)),
    })
    .showHelpAfterError("(blockscale --help explains)");
  checkpointCommands(command, signal);
  queueCommands(command, signal);
  modelCommands(command, signal);
  evaluationCommand(command, signal);
  sensitivityCommand(command, signal);
  trainingCommand(command, signal);
  return command;
}

/** Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted by Ctrl-C. */
async function main(argv: readonly string[]): Promise<number> {
  try {
    await program(interruption()).parseAsync(argv);
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0;
      if (argv.includes("--json")) printUsageError(error.message);
      return 2;
    }
    const status = printError(error, argv.includes("--json"));
    const got = error instanceof BlockscaleError && error.code === "io" ? error.fault.got : "";
    return INTERRUPTED[got] ?? status;
  }
}

process.exitCode = await main(process.argv);
