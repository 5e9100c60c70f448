import { type Command, Option } from "commander";
import { recipes } from "../../train/recipes.ts";
import { TRAIN_HELP } from "../help.ts";
import { train } from "../train.ts";
import { jobs, place, within } from "./options.ts";

export function trainingCommand(command: Command, signal: AbortSignal): void {
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
