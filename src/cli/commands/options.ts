import { type Command, InvalidArgumentError, Option } from "commander";
import { type PartNumber, parsePart } from "../../jobs/parts.ts";

// What several commands have in common: options, and how their values are read.

/** Gathers an option that may be given several times. */
export const gather = (value: string, before: string[] = []): string[] => [...before, value];

/** Reads a whole number from 1 to 256. */
export function upTo256(text: string): number {
  const n = Number(text);
  if (!/^[0-9]+$/.test(text) || n < 1 || n > 256)
    throw new InvalidArgumentError("Expected a whole number from 1 to 256.");
  return n;
}

/** A reader of option values: a number within bounds. */
export const numberWithin =
  (least: number, most: number): ((text: string) => number) =>
  (text) => {
    const n = Number(text);
    if (text.trim() === "" || !(n >= least && n <= most))
      throw new InvalidArgumentError(`Expected a number from ${least} to ${most}.`);
    return n;
  };

/** Reads a path. An empty one is refused: it would be the shell's folder. */
export function readPlace(text: string): string {
  if (text === "") throw new InvalidArgumentError("It is empty.");
  return text;
}

/** Adds --threads. Its older name, --jobs, is still taken, and not shown. */
export function withThreads(command: Command, about: string): Command {
  return command
    .option("--threads <n>", about, upTo256)
    .addOption(new Option("--jobs <n>").argParser(upTo256).hideHelp())
    .on("option:jobs", () =>
      command.setOptionValueWithSource("threads", command.getOptionValue("jobs"), "cli"),
    );
}

/** Reads `2/8` of --part. */
export function readPart(text: string): PartNumber {
  try {
    return parsePart(text);
  } catch {
    throw new InvalidArgumentError("Parts are 1/8 to 8/8, say: they count from 1.");
  }
}

export const INPUTS: string =
  "a .safetensors file, a checkpoint folder or its index, s3://BUCKET/PREFIX, a URL, hf:OWNER/NAME or ms:OWNER/NAME";

export const MODEL: string = "the folder of a model, s3://BUCKET/PREFIX, hf:OWNER/NAME or ms:OWNER/NAME";

export const REPORT: readonly [flags: string, about: string] = [
  "--report <file>",
  "also write an HTML page of charts and tables",
];

export const THREADS: readonly [flags: string, about: string, read: typeof upTo256] = [
  "--threads <n>",
  "threads that share the work; left out, one for each core",
  upTo256,
];

export const FILES: readonly [flags: string, about: string, read: typeof gather] = [
  "--files <pattern>",
  "the .safetensors files that are the model, where a folder holds others too (repeatable)",
  gather,
];

export const WORST: string = "list the n tokens at which the two models differ most";

export function missingScale(): Option {
  return new Option(
    "--missing-scale <what>",
    "what to do with FP8 codes that have no scale: refuse them, or use a scale of 1",
  )
    .choices(["error", "one"])
    .default("error");
}

export const CACHE = (): Option =>
  new Option("--cache <type>", "type in which keys and values of past tokens are kept")
    .choices(["f32", "fp8"])
    .default("f32");

export const WEIGHTS = (forms: readonly string[]): Option =>
  new Option(
    "--weights <form>",
    "form of the weights in memory: codes as stored, or integers of 7 bits, which are faster and about as exact as E4M3",
  )
    .choices(forms)
    .default("codes");
