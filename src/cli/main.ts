import { readFile } from "node:fs/promises";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { type DialectName, dialects } from "../checkpoint/dialects/index.ts";
import type { Override } from "../checkpoint/dialects/rules.ts";
import { systemFault } from "../io/node.ts";
import type { Task } from "../jobs/conversion.ts";
import { type Part, parsePart } from "../jobs/shares.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { ValueType } from "../tensor/tensor.ts";
import { recipes } from "../train/recipes.ts";
import { chat } from "./chat.ts";
import { compare } from "./compare.ts";
import { convert } from "./convert.ts";
import type { ConvertFlags } from "./convert-checkpoint.ts";
import { embed } from "./embed.ts";
import { type EvaluateFlags, evaluate } from "./evaluate.ts";
import { evaluatePart, evaluateQueued, findEvaluation, finishEvaluation } from "./evaluate-shared.ts";
import * as figures from "./figures.ts";
import { generate } from "./generate.ts";
import {
  COMPARE_HELP,
  DEQUANTIZE_HELP,
  EVALUATE_HELP,
  QUANTIZE_HELP,
  SENSITIVITY_HELP,
  TRAIN_HELP,
} from "./help.ts";
import { inspect } from "./inspect.ts";
import { INTERRUPTED, interruption } from "./interruption.ts";
import { convertPart, finishConversion } from "./part.ts";
import { printError } from "./print.ts";
import { convertQueued, status, work } from "./queue.ts";
import { sensitivity } from "./sensitivity.ts";
import { serve } from "./serve.ts";
import { train } from "./train.ts";
import { version } from "./version.ts";

interface SelectionFlags extends ConvertFlags {
  readonly include?: string[];
  readonly exclude?: string[];
  readonly missingScale: "error" | "one";
  readonly part?: Part;
  readonly queue?: string;
}

interface SharedEvaluateFlags extends EvaluateFlags {
  readonly part?: Part;
  readonly out?: string;
  readonly queue?: string;
  readonly chunks: number;
}

const WORST = "how many of the tokens to list at which both models differ most";

/** Gathers an option that may be given several times. */
const several = (value: string, before: string[] = []): string[] => [...before, value];

function jobs(text: string): number {
  const n = Number(text);
  if (!/^[0-9]+$/.test(text) || n < 1 || n > 256) throw new InvalidArgumentError("1 to 256.");
  return n;
}

const REPORT = ["--report <file>", "write a page of charts and tables besides (HTML)"] as const;

const FILES = [
  "--files <pattern>",
  "the .safetensors files that are the model, where a folder holds others too (repeatable)",
  several,
] as const;

/** An empty path would be the folder of the shell. */
function place(text: string): string {
  if (text === "") throw new InvalidArgumentError("It is empty.");
  return text;
}

const INPUTS =
  "a .safetensors file, a checkpoint folder or its index, s3://BUCKET/PREFIX, a URL, hf:OWNER/NAME or ms:OWNER/NAME";

function missingScale(): Option {
  return new Option("--missing-scale <what>", "FP8 codes that have no scale: refuse them, or take 1")
    .choices(["error", "one"])
    .default("error");
}

/** `2/8` of --part. */
function part(text: string): Part {
  try {
    return parsePart(text);
  } catch {
    throw new InvalidArgumentError("Parts are 1/8 to 8/8, say: they count from 1.");
  }
}

/** What quantize and dequantize have in common. */
function conversion(command: Command, about: string): Command {
  return command
    .description(about)
    .argument("<IN>", INPUTS, place)
    .argument("<OUT>", "the file, folder or s3://BUCKET/PREFIX to write", place)
    .option("--include <pattern>", "convert these weights (repeatable)", several)
    .option("--exclude <pattern>", "keep these weights as they are (repeatable)", several)
    .option(...FILES)
    .addOption(missingScale())
    .option("--jobs <n>", "worker threads, if not one for each core; changes the speed, not the bytes", jobs)
    .addOption(
      new Option(
        "--measure <which>",
        "values that the report tells of: a sample of one in eight, or all, which takes longer",
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
        .argParser(part)
        .conflicts(["overwrite", "dryRun", "report"]),
    )
    .addOption(
      new Option("--queue <redis>", "let `blockscale worker`s make the shards: redis://HOST:PORT").conflicts([
        "part",
        "overwrite",
        "dryRun",
        "report",
        "jobs",
        "measure",
      ]),
    )
    .option("--json", "print the report as JSON");
}

/** Converts on this machine, all of it or a part, or on others. */
function run(
  from: string,
  to: string,
  task: Task,
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

/** The dialect that can store what overrides ask for. */
function dialectFor(overrides: readonly Override[]): DialectName {
  // What is no override at all is refused later, with where it stands.
  const namesFormat = overrides.some((found) => typeof found?.scheme === "string" && found.scheme !== "keep");
  return namesFormat ? "compressed-tensors-mixed" : "deepseek-v3.1";
}

function program(signal: AbortSignal): Command {
  const command = new Command("blockscale")
    .description("Converts, inspects and runs block-scaled FP8 checkpoints: no GPU, no Python.")
    .version(version())
    .exitOverride()
    .configureOutput({
      outputError: (message, write) => write(message.split("\n").map(figures.text).join("\n")),
    })
    .showHelpAfterError("(blockscale --help explains)");
  conversion(command.command("quantize").alias("requantize"), "make an FP8 copy of a checkpoint")
    .addOption(
      new Option(
        "--to <dialect>",
        "how to store codes and scales; left out, deepseek-v3.1, or compressed-tensors-mixed where overrides name formats",
      ).choices(Object.keys(dialects)),
    )
    .option("--overrides <file>", "JSON list of weights to treat differently", place)
    .addHelpText("after", QUANTIZE_HELP)
    .action(async (from, to, flags: SelectionFlags & { to?: DialectName; overrides?: string }) => {
      const { include, exclude, missingScale } = flags;
      const overrides = await readOverrides(flags.overrides);
      const dialect = flags.to ?? dialectFor(overrides);
      const options = { to: dialect, include, exclude, missingScale, overrides };
      const direction = { kind: "quantize", to: dialect } as const;
      await run(from, to, { direction, options }, flags, signal);
    });
  conversion(command.command("dequantize"), "make a plain BF16, F16 or F32 copy of an FP8 checkpoint")
    .addOption(new Option("--dtype <type>", "of the values").choices(["bf16", "f16", "f32"]).default("bf16"))
    .addHelpText("after", DEQUANTIZE_HELP)
    .action(async (from, to, flags: SelectionFlags & { dtype: ValueType }) => {
      const { include, exclude, missingScale, dtype } = flags;
      const options = { dtype, include, exclude, missingScale };
      const direction = { kind: "dequantize", dtype } as const;
      await run(from, to, { direction, options }, flags, signal);
    });
  command
    .command("finish")
    .description("check and complete what was made by --part: a checkpoint, or the figures of an evaluation")
    .argument("<OUT>", "the folder that the parts were written to", place)
    .option("--verify", "read every file, and compare its SHA-256 with what its maker noted")
    .option("--json", "print the report as JSON")
    .option("--worst <n>", WORST, within(0, 10000), 10)
    .action(async (to, flags) => {
      const evaluation = await findEvaluation(to);
      if (evaluation !== null) await finishEvaluation(to, evaluation, flags, signal);
      else await finishConversion(to, flags, signal);
    });
  command
    .command("inspect")
    .description("show what is inside a checkpoint")
    .argument("<PATH>", INPUTS, place)
    .option(...FILES)
    .option("--json", "print as JSON")
    .option(...REPORT)
    .action((path, flags) => inspect(path, flags, signal));
  command
    .command("compare")
    .description("hold the values of one checkpoint against another's, whatever their dialects")
    .argument("<A>", `the truth: ${INPUTS}`, place)
    .argument("<B>", "what became of it", place)
    .option("--min-sqnr <db>", "end with 1 if a tensor has less", within(-1000, 1000))
    .addOption(missingScale())
    .option("--jobs <n>", "worker threads, if not as many as pay; changes the speed, not the figures", jobs)
    .option("--json", "print as JSON")
    .option(...REPORT)
    .addHelpText("after", COMPARE_HELP)
    .action((a, b, flags) => compare(a, b, flags, signal));
  queueCommands(command, signal);
  modelCommands(command, signal);
  evaluationCommand(command, signal);
  sensitivityCommand(command, signal);
  trainingCommand(command, signal);
  return command;
}

function queueCommands(command: Command, signal: AbortSignal): void {
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

const MODEL = "the folder of a model, s3://BUCKET/PREFIX, hf:OWNER/NAME or ms:OWNER/NAME";

/** What all commands that run a model have in common. */
function modelCommand(command: Command, activations: "f32" | "near" = "near"): Command {
  return command
    .argument("<MODEL>", MODEL, place)
    .option("--threads <n>", "threads that share the work, if not one for each core up to 8", jobs)
    .addOption(
      new Option(
        "--activations <how>",
        "how they meet FP8 weights: auto takes int8 for many tokens where it is faster here, near does so unless the model has experts",
      )
        .choices(["near", "auto", "f32", "int8", "fp8"])
        .default(activations),
    )
    .addOption(CACHE())
    .addOption(WEIGHTS(["codes", "int7", "auto"]));
}

const CACHE = (): Option =>
  new Option("--cache <type>", "how keys and values of past tokens are kept")
    .choices(["f32", "fp8"])
    .default("f32");

const WEIGHTS = (forms: readonly string[]): Option =>
  new Option("--weights <form>", "codes as stored, or integers of 7 bits: faster, and about as exact as E4M3")
    .choices(forms)
    .default("codes");

/** A number within bounds. */
const within =
  (least: number, most: number) =>
  (text: string): number => {
    const n = Number(text);
    if (text.trim() === "" || !(n >= least && n <= most))
      throw new InvalidArgumentError(`${least} to ${most}.`);
    return n;
  };

function sampled(command: Command): Command {
  return command
    .option("--max-tokens <n>", "of the answer", within(0, 2 ** 31), 256)
    .option(
      "--temperature <t>",
      "0 takes the likeliest token, 1 samples what the model says",
      within(0, 100),
      0.8,
    )
    .option("--top-k <k>", "sample among the k likeliest tokens", within(0, 2 ** 31))
    .option("--top-p <p>", "sample among the fewest tokens whose probabilities sum to p", within(0, 1), 0.95)
    .option("--min-p <p>", "sample among tokens at least p times as likely as the likeliest", within(0, 1))
    .option("--seed <n>", "the same seed gives the same answer", within(0, 2 ** 53))
    .option("--stop <text>", "end the answer at this text (repeatable)", several);
}

function modelCommands(command: Command, signal: AbortSignal): void {
  sampled(modelCommand(command.command("generate").description("let a model go on with a text")))
    .argument("[PROMPT]", "the text; left out, standard input")
    .option("--ids <ids>", "the prompt as ids of tokens, for models without a tokenizer")
    .option("--json", "print ids, log probabilities and tokens a second as JSON")
    .action((path, prompt, flags) => generate(path, prompt, flags, signal));
  sampled(modelCommand(command.command("chat").description("talk with a model in the terminal")))
    .option("--system <text>", "what the model is told first")
    .action((path, flags) => chat(path, flags, signal));
  modelCommand(command.command("embed").description("turn each line of a text into a vector"), "f32")
    .option("--input <file>", "the text; left out, standard input", place)
    .option("--output <file>", "a .npy file, or JSON lines; left out, JSON lines to standard output", place)
    .addOption(
      new Option("--pooling <how>", "if not what the files of the model say").choices([
        "mean",
        "cls",
        "last",
      ]),
    )
    .option("--no-normalize", "leave vectors at their own lengths")
    .action((path, flags) => embed(path, flags, signal));
  modelCommand(command.command("serve").description("answer OpenAI's API: chat, completions, embeddings"))
    .option("--host <address>", "where to listen; other machines reach 0.0.0.0", "127.0.0.1")
    .option("--port <n>", "0 takes a free one", within(0, 65535), 8080)
    .option("--max-tokens <n>", "of an answer, where a request does not say", within(1, 2 ** 31), 1024)
    .option("--max-body <bytes>", "of a request", within(1, 2 ** 31), 2 ** 20)
    .action((path, flags) => serve(path, flags, signal));
}

/** An even number of tokens, of which the second half is predicted. */
function evenTokens(text: string): number {
  const n = within(2, 2 ** 24)(text);
  if (n % 2 !== 0) throw new InvalidArgumentError("An even number.");
  return n;
}

function evaluationCommand(command: Command, signal: AbortSignal): void {
  command
    .command("evaluate")
    .description("measure how well a model predicts a text, and how far it is from its original")
    .argument("<MODEL>", MODEL, place)
    .option("--against <reference>", "the original: figures of both, and the KL divergence", place)
    .addOption(new Option("--text <file>", "the text").conflicts("tokens"))
    .option("--tokens <file>", "a safetensors file with `ids` instead", place)
    .option(
      "--context <n>",
      "tokens of a chunk; the second half of each is predicted and counted",
      evenTokens,
      512,
    )
    .addOption(
      new Option("--activations <how>", "how the model's activations meet its weights")
        .choices(["f32", "fp8", "int8"])
        .default("f32"),
    )
    .option("--threads <n>", "threads that share the work, if not one for each core", jobs)
    .addOption(WEIGHTS(["codes", "int7"]))
    .addOption(CACHE())
    .option("--state <folder>", "keep what is done there, so that a run that was cut off goes on", place)
    .option("--worst <n>", WORST, within(0, 10000), 10)
    .addOption(
      new Option("--part <i/N>", "score one of N parts of the text into --out; then: blockscale finish OUT")
        .argParser(part)
        .conflicts(["queue", "report"]),
    )
    .option("--out <folder>", "where parts put their scores: a folder, or s3://BUCKET/PREFIX", place)
    .addOption(
      new Option("--queue <redis>", "let `blockscale worker`s score chunks: redis://HOST:PORT").conflicts([
        "threads",
        "state",
        "out",
      ]),
    )
    .option("--chunks <n>", "of one job of the queue, which reads the models once", jobs, 16)
    .option("--json", "print as JSON")
    .option(...REPORT)
    .addHelpText("after", EVALUATE_HELP)
    .action((path, flags: SharedEvaluateFlags, self: Command) => {
      const { text, tokens, part, out, queue } = flags;
      if (text === undefined && tokens === undefined) self.error("error: --text or --tokens is needed");
      if ((part === undefined) !== (out === undefined)) self.error("error: --part and --out need each other");
      if (queue !== undefined) return evaluateQueued(path, { ...flags, queue }, signal);
      if (part !== undefined) return evaluatePart(path, { ...flags, part, out: out! }, signal);
      return evaluate(path, flags, signal);
    });
}

function sensitivityCommand(command: Command, signal: AbortSignal): void {
  command
    .command("sensitivity")
    .description("find out which layers bear which format, and the best mix within a budget of bits")
    .argument("<MODEL>", `the original: ${MODEL}`, place)
    .addOption(new Option("--text <file>", "the text").conflicts("tokens"))
    .option("--tokens <file>", "a safetensors file with `ids` instead", place)
    .option("--context <n>", "tokens of a chunk", evenTokens, 512)
    .option("--formats <list>", "to choose from", "nvfp4,mxfp4,fp8,bf16")
    .option("--bits <n>", "of a weight on average, scales included", within(1, 32), 6)
    .option("--measure", "score each group by a run with it alone rounded, instead of an estimate")
    .option("--out <file>", "write the choice as overrides for quantize", place)
    .option("--threads <n>", "threads that share the work, if not one for each core", jobs)
    .option("--json", "print as JSON")
    .option(...REPORT)
    .addHelpText("after", SENSITIVITY_HELP)
    .action((path, flags, self: Command) => {
      if (flags.text === undefined && flags.tokens === undefined)
        self.error("error: --text or --tokens is needed");
      return sensitivity(path, flags, signal);
    });
}

function trainingCommand(command: Command, signal: AbortSignal): void {
  command
    .command("train")
    .description("train a small model in FP8 on texts, from random weights")
    .argument(
      "<TEXT...>",
      "text files, and last the folder to write",
      (text: string, before: string[] = []) => [...before, place(text)],
    )
    .option(
      "--config <config>",
      '"small", 3.4 million parameters, or the config.json of a Llama or Qwen3',
      "small",
    )
    .addOption(
      new Option("--recipe <recipe>", "how products round their operands")
        .choices(Object.keys(recipes))
        .default("deepseek"),
    )
    .option("--steps <n>", "to take", within(1, 2 ** 31), 1000)
    .option("--batch <n>", "sequences of a step", within(1, 4096), 16)
    .option("--context <n>", "tokens of a sequence", within(2, 65536), 128)
    .option(
      "--learning-rate <rate>",
      "at its highest: it warms up and falls along a cosine",
      within(0, 1),
      2e-3,
    )
    .option("--seed <n>", "of the first weights and of the order of the text", within(0, 2 ** 31), 1)
    .option("--tokenizer <tokenizer>", '"bytes", or a tokenizer.json; that of --from, or bytes, if left out')
    .option("--from <folder>", "a checkpoint to begin with, FP8 ones too, instead of random weights")
    .option("--lora <rank>", "train adapters of this rank instead of the weights of --from", within(1, 1024))
    .option("--lora-targets <names...>", "linear layers that have adapters, if not q_proj and v_proj")
    .option("--threads <n>", "threads that share each step, to the same bits", jobs, 1)
    .option(
      "--parts <n>",
      "take each batch in n parts, whose gradients add up: less memory",
      within(1, 4096),
      1,
    )
    .option("--recompute", "compute layers once more in the backward pass: less memory, to the same bits")
    .addOption(
      new Option("--moments <type>", "what the means of AdamW are kept in")
        .choices(["f32", "bf16"])
        .default("f32"),
    )
    .option(
      "--every <n>",
      "keep a checkpoint, and look at held-out text, every n steps",
      within(1, 2 ** 31),
      200,
    )
    .option("--report <file>", "write a page of curves, of speed, and of what rounding did to each layer")
    .option("--json", "print the result as JSON")
    .addHelpText("after", TRAIN_HELP)
    .action((paths: string[], flags, self: Command) => {
      const out = paths.pop()!;
      if (paths.length === 0) self.error("error: at least one text, and the folder to write");
      return train(paths, out, flags, signal);
    });
}

/** Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted by Ctrl-C. */
async function main(argv: readonly string[]): Promise<number> {
  try {
    await program(interruption()).parseAsync(argv);
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    const status = printError(error, argv.includes("--json"));
    const got = error instanceof BlockscaleError && error.code === "io" ? error.fault.got : "";
    return INTERRUPTED[got] ?? status;
  }
}

process.exitCode = await main(process.argv);
