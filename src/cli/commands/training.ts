import { type Command, Option } from "commander";
import { GRADIENT_FORMATS } from "../../jobs/gradients.ts";
import { recipes } from "../../train/recipes.ts";
import { TRAIN_HELP } from "../help.ts";
import { train } from "../train.ts";
import { numberWithin, readPlace, upTo256 } from "./options.ts";

export function trainingCommand(command: Command, signal: AbortSignal): void {
  command
    .command("train")
    .description("train a small model in FP8 on texts, from random weights or an opened checkpoint")
    .argument(
      "<TEXT...>",
      "text files, and last the folder to write",
      (text: string, before: string[] = []) => [...before, readPlace(text)],
    )
    .option(
      "--config <config>",
      '"small", 3.5 million parameters, or the config.json of a Llama or Qwen3',
      "small",
    )
    .addOption(
      new Option("--recipe <recipe>", "how products round their operands")
        .choices(Object.keys(recipes))
        .default("deepseek"),
    )
    .option("--steps <n>", "training steps to take", numberWithin(1, 2 ** 31), 1000)
    .option("--batch <n>", "sequences in a batch, one batch for each step", numberWithin(1, 4096), 16)
    .option("--context <n>", "tokens in a sequence", numberWithin(2, 65536), 128)
    .option(
      "--learning-rate <rate>",
      "peak learning rate, after a linear warm-up and before a cosine decay",
      numberWithin(0, 1),
      2e-3,
    )
    .option(
      "--seed <n>",
      "seed of the initial weights and of the order of the text",
      numberWithin(0, 2 ** 31),
      1,
    )
    .option("--tokenizer <tokenizer>", '"bytes", or a tokenizer.json; left out, that of --from, or bytes')
    .option("--from <folder>", "a checkpoint to begin with, FP8 ones too, instead of random weights")
    .option(
      "--lora <rank>",
      "train adapters of this rank instead of the weights of --from",
      numberWithin(1, 1024),
    )
    .option("--lora-targets <names...>", "linear layers that get adapters; left out, q_proj and v_proj")
    .option(
      "--threads <n>",
      "threads that share each step; the result is the same with any number",
      upTo256,
      1,
    )
    .option(
      "--micro-batches <n>",
      "split each batch in n micro-batches and add up their gradients, which takes less memory",
      numberWithin(1, 4096),
      1,
    )
    .option(
      "--recompute",
      "compute layers again in the backward pass, which takes less memory and gives the same result",
    )
    .addOption(
      new Option("--moments <type>", "type in which AdamW's moments are kept")
        .choices(["f32", "bf16"])
        .default("f32"),
    )
    .option(
      "--every <n>",
      "save a checkpoint and compute the loss on held-out text every n steps",
      numberWithin(1, 2 ** 31),
      200,
    )
    .option(
      "--queue <redis>",
      "train on several machines that meet on redis://HOST:PORT, or rediss:// for TLS",
    )
    .option("--world-size <n>", "how many machines: each takes a share of every batch", numberWithin(1, 1024))
    .option("--rank <n>", "which of them this one is, from 0 on; 0 writes OUT", numberWithin(0, 1023))
    .addOption(
      new Option(
        "--gradients <format>",
        "format of the gradients that machines send: float32, or E4M3 with a scale for each 32 values",
      )
        .choices(GRADIENT_FORMATS)
        .default("fp8"),
    )
    .option("--timeout <s>", "seconds to wait for another machine", numberWithin(1, 86400), 120)
    .option(
      "--report <file>",
      "write an HTML page with the loss curves, the speed, and the effect of rounding on each layer",
    )
    .option("--json", "print the result as JSON")
    .addHelpText("after", TRAIN_HELP)
    .action((paths: string[], flags, self: Command) => {
      const out = paths.pop()!;
      if (paths.length === 0) self.error("error: at least one text, and the folder to write");
      return train(paths, out, flags, signal);
    });
}
