// The edge worker's embeddings in Node and Deno: node test/examples/embed.mjs MODEL [TEXT...]; texts from standard input are lines.
// What is near what: the text whose vector is nearest to that of the first one is printed last.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import worker from "./embed-worker.mjs";

const [folder, ...texts] = process.argv.slice(2);
/** A folder in the place of a bucket. */
const STORAGE = {
  async fetch(url) {
    try {
      return new Response(await readFile(join(folder, new URL(url).pathname.slice(1))));
    } catch {
      return new Response(null, { status: 404 });
    }
  },
};

const request = new Request("http://worker/", { method: "POST", body: JSON.stringify({ input: texts }) });
const { data, error } = await (await worker.fetch(request, { STORAGE })).json();
if (error) {
  console.error(error.message);
  process.exit(1);
}
const [first, ...others] = data.map(({ embedding }) => embedding);
const scores = others.map((vector) => vector.reduce((sum, x, i) => sum + x * first[i], 0));
const nearest = scores.indexOf(Math.max(...scores));
console.log(
  `${data.length} vectors of ${first.length}; nearest to ${JSON.stringify(texts[0])}: ${JSON.stringify(texts[nearest + 1])}`,
);
