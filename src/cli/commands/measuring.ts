import { type Command, InvalidArgumentError, Option } from "commander";
import type { PartNumber } from "../../jobs/parts.ts";
import { type EvaluateFlags, evaluate } from "../evaluate.ts";
import { evaluatePart, evaluateQueued } from "../evaluate-parts.ts";
import { EVALUATE_HELP, SENSITIVITY_HELP } from "../help.ts";
import { sensitivity } from "../sensitivity.ts";
import {
  CACHE,
  MODEL,
  numberWithin,
  REPORT,
  readPart,
  readPlace,
  THREADS,
  upTo256,
  WEIGHTS,
  WORST,
} from "./options.ts";

interface SharedEvaluateFlags extends EvaluateFlags {
  readonly part?: PartNumber;
  readonly out?: string;
  readonly queue?: string;
  readonly chunks: number;
}

/** An even number of tokens, of which the second half is predicted. */
function evenTokens(text: string): number {
  const n = numberWithin(2, 2 ** 24)(text);
  if (n % 2 !== 0) throw new InvalidArgumentError("Expected an even number.");
  return n;
}

/** Adds --text and --tokens, of which one is needed. */
function readingText(command: Command): Command {
  return command
    .addOption(new Option("--text <file>", "the text").conflicts("tokens"))
    .option("--tokens <file>", "a safetensors file with `ids` instead", readPlace)
    .hook("preAction", (self) => {
      const { text, tokens } = self.opts();
      if (text === undefined && tokens === undefined) self.error("error: --text or --tokens is needed");
    });
}

export function evaluationCommand(command: Command, signal: AbortSignal): void {
  readingText(
    command
      .command("evaluate")
      .description("measure how well a model predicts a text, and how far it is from its original")
      .argument("<MODEL>", MODEL, readPlace)
      .option("--against <reference>", "the original: figures of both, and the KL divergence", readPlace),
  )
    .option(
      "--context <n>",
      "tokens of a chunk; the second half of each is predicted and counted",
      evenTokens,
      512,
    )
    .addOption(
      new Option(
        "--activations <how>",
        "how the model's activations are rounded before they are multiplied by weights",
      )
        .choices(["f32", "fp8", "int8"])
        .default("f32"),
    )
    .option(...THREADS)
    .addOption(WEIGHTS(["codes", "int7"]))
    .addOption(CACHE())
    .option(
      "--state <folder>",
      "keep intermediate results there, so that an interrupted run continues from them",
      readPlace,
    )
    .option("--worst <n>", WORST, numberWithin(0, 10000), 10)
    .addOption(
      new Option("--part <i/N>", "score one of N parts of the text into --out; then: blockscale finish OUT")
        .argParser(readPart)
        .conflicts(["queue", "report"]),
    )
    .option("--out <folder>", "where parts put their scores: a folder, or s3://BUCKET/PREFIX", readPlace)
    .addOption(
      new Option(
        "--queue <redis>",
        "let processes of `blockscale worker` score chunks: redis://HOST:PORT",
      ).conflicts(["threads", "state", "out"]),
    )
    .option(
      "--chunks <n>",
      "chunks of text in one job of the queue; each job reads the models once",
      upTo256,
      16,
    )
    .option("--json", "print as JSON")
    .option(...REPORT)
    .addHelpText("after", EVALUATE_HELP)
    .action((path, flags: SharedEvaluateFlags, self: Command) => {
      const { part, out, queue } = flags;
      if ((part === undefined) !== (out === undefined)) self.error("error: --part and --out need each other");
      if (queue !== undefined) return evaluateQueued(path, { ...flags, queue }, signal);
      if (part !== undefined) return evaluatePart(path, { ...flags, part, out: out! }, signal);
      return evaluate(path, flags, signal);
    });
}

export function sensitivityCommand(command: Command, signal: AbortSignal): void {
  readingText(
    command
      .command("sensitivity")
      .description(
        "measure what each format costs in each layer, and find the best mix within a budget of bits",
      )
      .argument("<MODEL>", `the original: ${MODEL}`, readPlace),
  )
    .option("--context <n>", "tokens of a chunk", evenTokens, 512)
    .option("--formats <list>", "formats to choose from", "nvfp4,mxfp4,fp8,bf16")
    .option("--bits <n>", "bits of a weight on average, scales included", numberWithin(1, 32), 6)
    .addOption(
      new Option(
        "--activations <how>",
        "fp8: activations are rounded before they meet FP8 weights, as loaders do; those of 4 and 6 bits meet them as they are",
      )
        .choices(["f32", "fp8"])
        .default("f32"),
    )
    .option(
      "--measure",
      "score each group of layers by running the model with that group alone rounded, instead of estimating",
    )
    .option(
      "--apart",
      "choose formats for q, k and v one by one, and for gate and up: for loaders that do not fuse them",
    )
    .option("--out <file>", "write the choice as overrides for quantize", readPlace)
    .option(...THREADS)
    .option("--json", "print as JSON")
    .option(...REPORT)
    .addHelpText("after", SENSITIVITY_HELP)
    .action((path, flags) => sensitivity(path, flags, signal));
}
