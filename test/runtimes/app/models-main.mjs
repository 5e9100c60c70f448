// Node, Deno and Bun: models in one thread and in two; prints what is wrong.
import { readFile } from "node:fs/promises";
import { modelProblems } from "./models.mjs";

async function read(path) {
  const { buffer, byteOffset, length } = await readFile(new URL(`models/${path}`, import.meta.url));
  return buffer.slice(byteOffset, byteOffset + length);
}

const problems = [];
for (const options of [{ threads: 1 }, { threads: 2 }, { threads: 1, variant: "baseline" }]) {
  for (const problem of await modelProblems(read, options))
    problems.push(`${JSON.stringify(options)} ${problem}`);
}
console.log(JSON.stringify(problems));
