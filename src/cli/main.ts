import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { type DialectName, dialects } from "../checkpoint/dialects/index.ts";
import type { Override } from "../checkpoint/dialects/rules.ts";
import { planDequantize } from "../checkpoint/plan/dequantize.ts";
import { planQuantize } from "../checkpoint/plan/quantize.ts";
import { systemFault } from "../io/node.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { ValueType } from "../tensor/tensor.ts";
import { compare } from "./compare.ts";
import { type ConvertFlags, convert } from "./convert.ts";
import * as figures from "./figures.ts";
import { COMPARE_HELP, DEQUANTIZE_HELP, QUANTIZE_HELP } from "./help.ts";
import { inspect } from "./inspect.ts";
import { INTERRUPTED, interruption } from "./interruption.ts";
import { printError } from "./print.ts";

interface SelectionFlags extends ConvertFlags {
  readonly include?: string[];
  readonly exclude?: string[];
  readonly missingScale: "error" | "one";
}

/** Gathers an option that may be given several times. */
const several = (value: string, before: string[] = []): string[] => [...before, value];

function jobs(text: string): number {
  const n = Number(text);
  if (!/^[0-9]+$/.test(text) || n < 1 || n > 256) throw new InvalidArgumentError("1 to 256.");
  return n;
}

const REPORT = ["--report <file>", "write a page of charts and tables besides (HTML)"] as const;

/** An empty path would be the folder of the shell. */
function place(text: string): string {
  if (text === "") throw new InvalidArgumentError("It is empty.");
  return text;
}

const INPUTS = "a .safetensors file, a checkpoint folder, a URL, or hf:OWNER/NAME";

function missingScale(): Option {
  return new Option("--missing-scale <what>", "FP8 codes that have no scale: refuse them, or take 1")
    .choices(["error", "one"])
    .default("error");
}

/** That of the package, which is two folders up from this file wherever it is installed. */
function version(): string {
  const manifest = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(manifest) as { version: string }).version;
}

/** What quantize and dequantize have in common. */
function conversion(command: Command, about: string): Command {
  return command
    .description(about)
    .argument("<IN>", INPUTS, place)
    .argument("<OUT>", "the file or folder to write", place)
    .option("--include <pattern>", "convert these weights (repeatable)", several)
    .option("--exclude <pattern>", "keep these weights as they are (repeatable)", several)
    .addOption(missingScale())
    .option("--jobs <n>", "worker threads, if not one for each core; changes the speed, not the bytes", jobs)
    .option("--overwrite", "replace an OUT that is there already: a file, or the checkpoint in a folder")
    .addOption(
      new Option("--dry-run", "print the plan with exact sizes, and write nothing").conflicts("report"),
    )
    .option(...REPORT)
    .option("--json", "print the report as JSON");
}

async function readOverrides(path: string | undefined): Promise<Override[]> {
  if (path === undefined) return [];
  const text = await readFile(path, "utf8").catch((cause) => {
    throw systemFault(path, "a file of overrides", cause);
  });
  try {
    const overrides = JSON.parse(text);
    if (Array.isArray(overrides)) return overrides;
    throw new Error("no list");
  } catch (cause) {
    throw new BlockscaleError("option", {
      where: path,
      expected: "a JSON list of overrides",
      got: (cause as Error).message,
      fix: 'Write it as [{ "pattern": "*.down_proj.weight", "scheme": "keep" }].',
    });
  }
}

function program(signal: AbortSignal): Command {
  const command = new Command("blockscale")
    .description("Converts and inspects block-scaled FP8 checkpoints: no GPU, no Python, constant memory.")
    .version(version())
    .exitOverride()
    .configureOutput({
      outputError: (message, write) => write(message.split("\n").map(figures.text).join("\n")),
    })
    .showHelpAfterError("(blockscale --help explains)");
  conversion(command.command("quantize").alias("requantize"), "make an FP8 copy of a checkpoint")
    .addOption(
      new Option("--to <dialect>", "how to store codes and scales")
        .choices(Object.keys(dialects))
        .default("deepseek-v3.1"),
    )
    .option("--overrides <file>", "JSON list of weights to treat differently", place)
    .addHelpText("after", QUANTIZE_HELP)
    .action(async (from, to, flags: SelectionFlags & { to: DialectName; overrides?: string }) => {
      const { include, exclude, missingScale } = flags;
      const overrides = await readOverrides(flags.overrides);
      const options = { to: flags.to, include, exclude, missingScale, overrides };
      const direction = { kind: "quantize", to: flags.to } as const;
      await convert(
        from,
        to,
        { direction, options, plan: ({ checkpoint }) => planQuantize(checkpoint, options) },
        flags,
        signal,
      );
    });
  conversion(command.command("dequantize"), "make a plain BF16, F16 or F32 copy of an FP8 checkpoint")
    .addOption(new Option("--dtype <type>", "of the values").choices(["bf16", "f16", "f32"]).default("bf16"))
    .addHelpText("after", DEQUANTIZE_HELP)
    .action(async (from, to, flags: SelectionFlags & { dtype: ValueType }) => {
      const { include, exclude, missingScale, dtype } = flags;
      const options = { dtype, include, exclude, missingScale };
      const direction = { kind: "dequantize", dtype } as const;
      await convert(
        from,
        to,
        { direction, options, plan: ({ checkpoint }) => planDequantize(checkpoint, options) },
        flags,
        signal,
      );
    });
  command
    .command("inspect")
    .description("show what is inside a checkpoint")
    .argument("<PATH>", INPUTS, place)
    .option("--json", "print as JSON")
    .option(...REPORT)
    .action((path, flags) => inspect(path, flags, signal));
  command
    .command("compare")
    .description("hold the values of one checkpoint against another's, whatever their dialects")
    .argument("<A>", `the truth: ${INPUTS}`, place)
    .argument("<B>", "what became of it", place)
    .addOption(missingScale())
    .option("--json", "print as JSON")
    .option(...REPORT)
    .addHelpText("after", COMPARE_HELP)
    .action((a, b, flags) => compare(a, b, flags, signal));
  return command;
}

/** Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted by Ctrl-C. */
async function main(argv: readonly string[]): Promise<number> {
  try {
    await program(interruption()).parseAsync(argv);
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    const status = printError(error);
    const got = error instanceof BlockscaleError && error.code === "io" ? error.fault.got : "";
    return INTERRUPTED[got] ?? status;
  }
}

process.exitCode = await main(process.argv);
