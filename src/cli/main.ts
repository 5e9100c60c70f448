import { Command, CommanderError, Option } from "commander";
import { dialects } from "../checkpoint/dialects.ts";
import { BlockscaleError } from "../errors.ts";
import { inspect } from "./inspect.ts";
import { type QuantizeFlags, quantize } from "./quantize.ts";

/** Gathers an option that may be given several times. */
const several = (value: string, before: string[] = []): string[] => [...before, value];

function program(signal: AbortSignal): Command {
  const command = new Command("blockscale")
    .description("Converts and inspects block-scaled FP8 checkpoints: no GPU, no Python, constant memory.")
    .exitOverride()
    .showHelpAfterError("(blockscale --help explains)");
  command
    .command("quantize")
    .description("make an FP8 copy of a checkpoint")
    .argument("<IN>", "a .safetensors file of BF16, F16 or F32 weights")
    .argument("<OUT>", "the .safetensors file to write")
    .addOption(
      new Option("--to <dialect>", "how to store codes and scales")
        .choices(Object.keys(dialects))
        .default("deepseek-v3.1"),
    )
    .option("--include <pattern>", "also quantise weights that are kept by default (repeatable)", several)
    .option("--exclude <pattern>", "keep these weights as they are (repeatable)", several)
    .option("--json", "print the report as JSON")
    .addHelpText("after", QUANTIZE_HELP)
    .action((input: string, output: string, flags: QuantizeFlags) => quantize(input, output, flags, signal));
  command
    .command("inspect")
    .description("show what is inside a checkpoint")
    .argument("<PATH>", "a .safetensors file")
    .option("--json", "print as JSON")
    .action(inspect);
  return command;
}

const QUANTIZE_HELP = `
Weights of linear layers become FP8; norms, embeddings, output heads, router gates and biases are copied.
A PATTERN is a glob over tensor names, in which * stands for any text, or re: and a regular expression.

Dialects:
${Object.values(dialects)
  .map(({ name, about }) => `  ${name.padEnd(20)}${about}`)
  .join("\n")}

Examples:
  blockscale quantize model.safetensors model-fp8.safetensors
  blockscale quantize model.safetensors out.safetensors --to mxfp8 --exclude '*.o_proj.weight'
`;

/** Aborted by Ctrl-C or a polite kill, so that nothing half-written stays behind. */
function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(name, () =>
      controller.abort(
        new BlockscaleError("io", {
          where: "blockscale",
          expected: "to finish",
          got: name,
          fix: "Nothing half-written was left: run the same command again.",
        }),
      ),
    );
  }
  return controller.signal;
}

/** Exit status: 0 done, 1 failed, 2 wrong usage. */
async function main(argv: readonly string[]): Promise<number> {
  try {
    await program(interruption()).parseAsync(argv);
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (!(error instanceof BlockscaleError)) throw error;
    console.error(`blockscale: ${error.message}`);
    return error.code === "option" ? 2 : 1;
  }
}

process.exitCode = await main(process.argv);
