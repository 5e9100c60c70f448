// Runs a checkpoint folder, FP8 or not, on the CPU: node test/examples/generate.mjs MODEL PROMPT
// The prompt goes through the model's tokenizer; where the folder holds none, its bytes are the ids.
import { openModel } from "blockscale/model";
import { openFolder } from "blockscale/node";

const [folder, prompt = "The "] = process.argv.slice(2);
const files = await openFolder(folder);
const model = await openModel(files);
const ids = model.tokenizer === null ? [...Buffer.from(prompt)] : prompt;

process.stdout.write(prompt);
for await (const { id, text } of model.generate(ids, { maxTokens: 40, temperature: 0 }))
  process.stdout.write(text || String.fromCharCode(id));
process.stdout.write("\n");
await model.close();
