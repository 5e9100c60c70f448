import { type Command, Option } from "commander";
import { chat } from "../chat.ts";
import { embed } from "../embed.ts";
import { generate } from "../generate.ts";
import { serve } from "../serve.ts";
import { CACHE, gather, MODEL, numberWithin, readPlace, upTo256, WEIGHTS } from "./options.ts";

/** Adds the argument and options that all commands share which run a model. */
function modelCommand(command: Command, activations: "f32" | "near" = "near"): Command {
  return command
    .argument("<MODEL>", MODEL, readPlace)
    .option("--threads <n>", "threads that share the work; left out, one for each core, at most 8", upTo256)
    .addOption(
      new Option(
        "--activations <how>",
        "precision of activations in products with FP8 weights: auto takes int8 for many tokens where it is faster here; near does so too, but takes f32 for models with experts, whose results int8 changes more",
      )
        .choices(["near", "auto", "f32", "int8", "fp8"])
        .default(activations),
    )
    .addOption(CACHE())
    .addOption(WEIGHTS(["codes", "int7", "auto"]));
}

function sampled(command: Command): Command {
  return command
    .option("--max-tokens <n>", "tokens of the answer, at most", numberWithin(0, 2 ** 31), 256)
    .option(
      "--temperature <t>",
      "0 takes the likeliest token, 1 samples what the model says",
      numberWithin(0, 100),
      0.8,
    )
    .option("--top-k <k>", "sample among the k likeliest tokens", numberWithin(0, 2 ** 31))
    .option(
      "--top-p <p>",
      "sample among the fewest tokens whose probabilities sum to p",
      numberWithin(0, 1),
      0.95,
    )
    .option(
      "--min-p <p>",
      "sample among tokens at least p times as likely as the likeliest",
      numberWithin(0, 1),
    )
    .option("--seed <n>", "the same seed gives the same answer", numberWithin(0, 2 ** 53))
    .option("--stop <text>", "end the answer at this text (repeatable)", gather);
}

/** generate, chat, embed and serve. */
export function modelCommands(command: Command, signal: AbortSignal): void {
  sampled(modelCommand(command.command("generate").description("let a model continue a text")))
    .argument("[PROMPT]", "the text; left out, standard input")
    .option("--ids <ids>", "the prompt as ids of tokens, for models without a tokenizer")
    .option("--json", "print ids, log probabilities and tokens a second as JSON")
    .action((path, prompt, flags) => generate(path, prompt, flags, signal));
  sampled(modelCommand(command.command("chat").description("talk with a model in the terminal")))
    .option("--system <text>", "the system message, which comes first")
    .action((path, flags) => chat(path, flags, signal));
  modelCommand(command.command("embed").description("turn each line of a text into a vector"), "f32")
    .option("--input <file>", "the text; left out, standard input", readPlace)
    .option(
      "--output <file>",
      "a .npy file, or JSON lines; left out, JSON lines to standard output",
      readPlace,
    )
    .addOption(
      new Option(
        "--pooling <how>",
        "how token vectors become one; left out, as the files of the model say",
      ).choices(["mean", "cls", "last"]),
    )
    .option("--no-normalize", "do not scale vectors to length 1")
    .action((path, flags) => embed(path, flags, signal));
  modelCommand(command.command("serve").description("answer OpenAI's API: chat, completions, embeddings"))
    .option("--host <address>", "address to listen on; 0.0.0.0 lets other machines connect", "127.0.0.1")
    .option("--port <n>", "port to listen on; 0 takes a free one", numberWithin(0, 65535), 8080)
    .option(
      "--max-tokens <n>",
      "tokens of an answer, where a request does not say",
      numberWithin(1, 2 ** 31),
      1024,
    )
    .option("--max-body <bytes>", "size of a request at most", numberWithin(1, 2 ** 31), 2 ** 20)
    .action((path, flags) => serve(path, flags, signal));
}
