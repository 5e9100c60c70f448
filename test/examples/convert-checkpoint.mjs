// Converts a checkpoint folder to FP8 in code, as the command line does: node test/examples/convert-checkpoint.mjs IN OUT [DIALECT]
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { load } from "blockscale";
import {
  documentsOf,
  fileStream,
  localConverter,
  openCheckpoint,
  planQuantize,
  summarize,
} from "blockscale/checkpoint";
import { createFile, openFolder } from "blockscale/node";

const [from, to, dialect = "deepseek-v3.1"] = process.argv.slice(2);
const files = await openFolder(from);
const opened = await openCheckpoint(files);

// What becomes of each tensor is known before a weight is read.
const plan = planQuantize(opened.checkpoint, { to: dialect });
const sources = opened.sources;
const convert = localConverter(await load(), sources);
const measured = new Map();

await mkdir(to, { recursive: true });
for (const file of plan.files) {
  const onPrecision = (weight, precision) => measured.set(weight, precision);
  // A few megabytes of memory, whatever the size; the file has its name only when it is whole.
  await fileStream(file, { sources, convert, onPrecision }).pipeTo(await createFile(join(to, file.name)));
}
for (const { name, text } of documentsOf(opened, plan, { kind: "quantize", to: dialect }))
  await writeFile(join(to, name), text);

const { total } = summarize(plan, measured);
console.log(total);
