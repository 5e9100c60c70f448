import { readFile } from "node:fs/promises";
import { type Command, Option } from "commander";
import { type DialectName, dialectOfFormats, dialects } from "../../checkpoint/dialects/index.ts";
import { type Override, parseOverrides } from "../../checkpoint/dialects/overrides.ts";
import { systemFault } from "../../io/node.ts";
import type { ConversionSettings } from "../../jobs/conversion.ts";
import type { PartNumber } from "../../jobs/parts.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import type { ValueType } from "../../tensor/tensor.ts";
import { compare } from "../compare.ts";
import { convert } from "../convert.ts";
import type { ConvertFlags } from "../convert-one.ts";
import { findEvaluation, finishEvaluation } from "../evaluate-parts.ts";
import { COMPARE_HELP, DEQUANTIZE_HELP, QUANTIZE_HELP } from "../help.ts";
import { inspect } from "../inspect.ts";
import { convertPart, finishConversion } from "../part.ts";
import { convertQueued } from "../queue.ts";
import {
  FILES,
  gather,
  INPUTS,
  missingScale,
  numberWithin,
  REPORT,
  readPart,
  readPlace,
  WORST,
  withThreads,
} from "./options.ts";

interface SelectionFlags extends ConvertFlags {
  readonly also?: string[];
  readonly include?: string[];
  readonly only?: string[];
  readonly exclude?: string[];
  readonly missingScale: "error" | "one";
  readonly part?: PartNumber;
  readonly queue?: string;
}

interface FinishFlags {
  readonly verify?: true;
  readonly json?: true;
  readonly worst?: number;
}

/** The error for an option of `finish` that means nothing where it is given. */
function wrongFinishOption(option: string, expected: string, got: string): BlockscaleError {
  return new BlockscaleError("option", {
    where: option,
    expected: `the parts of ${expected}`,
    got: `those of ${got}`,
    fix: "Leave the option out.",
  });
}

/** Adds the arguments and options that quantize and dequantize share. */
function withConversionOptions(command: Command, about: string): Command {
  withThreads(
    command,
    "worker threads; left out, as many as are of use. The bytes are the same with any number",
  );
  return command
    .description(about)
    .argument("<IN>", INPUTS, readPlace)
    .argument("<OUT>", "the file, folder or s3://BUCKET/PREFIX to write", readPlace)
    .option(
      "--only <pattern>",
      "of the weights that would be converted, convert these alone; for others too: --also (repeatable)",
      gather,
    )
    .addOption(new Option("--include <pattern>").argParser(gather).hideHelp())
    .option("--exclude <pattern>", "keep these weights as they are (repeatable)", gather)
    .option(...FILES)
    .addOption(missingScale())
    .addOption(
      new Option(
        "--measure <which>",
        "values that are compared for the report: a sample of one in eight, or all, which takes longer",
      )
        .choices(["sample", "all"])
        .default("sample"),
    )
    .option("--overwrite", "replace an OUT that is there already: a file, or the checkpoint in a folder")
    .addOption(
      new Option("--dry-run", "print the plan with exact sizes, and write nothing").conflicts("report"),
    )
    .option(...REPORT)
    .addOption(
      new Option("--part <i/N>", "make one of N parts of the shards; then: blockscale finish OUT")
        .argParser(readPart)
        .conflicts(["overwrite", "dryRun", "report", "files"]),
    )
    .addOption(
      new Option(
        "--queue <redis>",
        "let processes of `blockscale worker` make the shards: redis://HOST:PORT",
      ).conflicts(["part", "overwrite", "dryRun", "report", "threads", "measure", "files"]),
    )
    .option("--json", "print the report as JSON");
}

/** Converts on this machine, all of it or a part, or on others. */
function run(
  from: string,
  to: string,
  task: ConversionSettings,
  flags: SelectionFlags,
  signal: AbortSignal,
): Promise<void> {
  if (flags.queue !== undefined) return convertQueued(from, to, flags.queue, task, flags, signal);
  return flags.part === undefined
    ? convert(from, to, task, flags, signal)
    : convertPart(from, to, flags.part, task, flags, signal);
}

async function readOverrides(path: string | undefined): Promise<Override[]> {
  if (path === undefined) return [];
  const text = await readFile(path, "utf8").catch((cause) => {
    throw systemFault(path, "a file of overrides", cause);
  });
  return parseOverrides(path, text);
}

/** The dialect that can store what overrides ask for. */
function dialectFor(overrides: readonly Override[]): DialectName {
  // What is no override at all is refused later, with where it stands.
  const formats = overrides
    .map((found) => found?.scheme)
    .filter((scheme) => typeof scheme === "string" && scheme !== "keep") as string[];
  if (formats.length === 0) return "deepseek-v3.1";
  return dialectOfFormats(formats)?.name ?? "compressed-tensors-mixed";
}

/** quantize, dequantize, finish, inspect and compare, in the order of the help. */
export function checkpointCommands(command: Command, signal: AbortSignal): void {
  quantizeCommand(command, signal);
  dequantizeCommand(command, signal);
  finishCommand(command, signal);
  inspectCommand(command, signal);
  compareCommand(command, signal);
}

function quantizeCommand(command: Command, signal: AbortSignal): void {
  withConversionOptions(
    command.command("quantize").alias("requantize"),
    "make an FP8, FP6 or FP4 copy of a checkpoint",
  )
    .addOption(
      new Option(
        "--to <dialect>",
        "how to store codes and scales; left out, deepseek-v3.1, or compressed-tensors-mixed or quark-mxfp6 where overrides name formats",
      ).choices(Object.keys(dialects)),
    )
    .option("--also <pattern>", "convert these weights too, which are kept otherwise (repeatable)", gather)
    .option("--overrides <file>", "JSON list of weights to treat differently", readPlace)
    .addHelpText("after", QUANTIZE_HELP)
    .action(async (from, to, flags: SelectionFlags & { to?: DialectName; overrides?: string }) => {
      const { also, include, only, exclude, missingScale } = flags;
      const overrides = await readOverrides(flags.overrides);
      const dialect = flags.to ?? dialectFor(overrides);
      const options = { to: dialect, also, include, only, exclude, missingScale, overrides };
      const direction = { kind: "quantize", to: dialect } as const;
      await run(from, to, { direction, options }, flags, signal);
    });
}

function dequantizeCommand(command: Command, signal: AbortSignal): void {
  withConversionOptions(
    command.command("dequantize"),
    "make a plain BF16, F16 or F32 copy of an FP8 checkpoint",
  )
    .addOption(new Option("--dtype <type>", "of the values").choices(["bf16", "f16", "f32"]).default("bf16"))
    .addHelpText("after", DEQUANTIZE_HELP)
    .action(async (from, to, flags: SelectionFlags & { dtype: ValueType }) => {
      const { include, only, exclude, missingScale, dtype } = flags;
      const options = { dtype, include, only, exclude, missingScale };
      const direction = { kind: "dequantize", dtype } as const;
      await run(from, to, { direction, options }, flags, signal);
    });
}

function finishCommand(command: Command, signal: AbortSignal): void {
  command
    .command("finish")
    .description("check and complete what was made by --part: a checkpoint, or the figures of an evaluation")
    .argument("<OUT>", "the folder that the parts were written to", readPlace)
    .option("--verify", "read every file, and compare its SHA-256 with the one noted when it was made")
    .option("--json", "print the report as JSON")
    .option("--worst <n>", `${WORST}; 10 if left out`, numberWithin(0, 10000))
    .action(async (to, flags: FinishFlags) => {
      const { verify, worst = 10, json } = flags;
      const evaluation = await findEvaluation(to);
      if (evaluation === null) {
        if (flags.worst !== undefined) throw wrongFinishOption("--worst", "an evaluation", "a conversion");
        return finishConversion(to, flags, signal);
      }
      if (verify === true) throw wrongFinishOption("--verify", "a conversion", "an evaluation");
      return finishEvaluation(to, evaluation, { worst, ...(json && { json }) }, signal);
    });
}

function inspectCommand(command: Command, signal: AbortSignal): void {
  command
    .command("inspect")
    .description("show what is inside a checkpoint")
    .argument("<PATH>", INPUTS, readPlace)
    .option(...FILES)
    .option("--json", "print as JSON")
    .option(...REPORT)
    .action((path, flags) => inspect(path, flags, signal));
}

function compareCommand(command: Command, signal: AbortSignal): void {
  withThreads(
    command.command("compare"),
    "worker threads; left out, as many as are of use. The figures are the same with any number",
  )
    .description("compare the values of two checkpoints, whatever their dialects")
    .argument("<A>", `the original: ${INPUTS}`, readPlace)
    .argument("<B>", "its converted copy", readPlace)
    .option(
      "--min-sqnr <db>",
      "exit with status 1 if a tensor has a lower signal-to-noise ratio (SQNR)",
      numberWithin(-1000, 1000),
    )
    .addOption(missingScale())
    .option("--json", "print as JSON")
    .option(...REPORT)
    .addHelpText("after", COMPARE_HELP)
    .action((a, b, flags) => compare(a, b, flags, signal));
}
