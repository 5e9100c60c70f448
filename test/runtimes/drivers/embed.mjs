// Asks the example of an edge worker that embeds for vectors, in each runtime, and compares them; watches its memory and time.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { writeCheckpoint } from "../../../bench/checkpoints.mjs";

/**
 * What hosts of edge workers give to a worker, in MB. Measured as what the process
 * takes more than before the first request.
 */
const MOST_MEGABYTES = 128;

const IDS = [Array.from({ length: 128 }, (_, i) => (i * 37) % 30000), [101, 2023, 2003, 102]];

/** Random weights of MiniLM's shapes, and what openModel says to them in this process. */
export async function embedding(project) {
  const folder = writeCheckpoint("minilm", join(project, "minilm"));
  const { openModel } = await import(
    pathToFileURL(join(project, "node_modules/blockscale/dist/model/index.js"))
  );
  const files = new Map();
  for (const name of ["config.json", "model.safetensors"])
    files.set(name, new Blob([await readFile(join(folder, name))]));
  const model = await openModel(files);
  const vectors = await model.embed(IDS);
  await model.close();
  return { folder, vectors };
}

/** What is wrong with the worker at `origin`, in words; `pid` is its process. */
export async function embedProblems({ vectors }, origin, pid) {
  const ask = async (input) =>
    (await fetch(origin, { method: "POST", body: JSON.stringify({ input }) })).json();
  const megabytes = async (field) => {
    const status = await readFile(`/proc/${pid}/status`, "utf8");
    return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)[1]) / 1024;
  };
  const idle = await megabytes("VmRSS");
  const started = performance.now();
  const { data } = await ask(IDS);
  const cold = performance.now() - started;
  const problems = [];
  data.forEach(({ embedding }, i) => {
    const off = Math.max(...embedding.map((value, j) => Math.abs(value - vectors[i][j])));
    if (!(off < 1e-5)) problems.push(`vector ${i} is off by ${off}`);
  });
  const turns = 20;
  const first = performance.now();
  for (let i = 0; i < turns; i++) await ask([IDS[1]]);
  const rate = (1000 * turns) / (performance.now() - first);
  const { error } = await ask([[99999]]);
  if (!error?.message.includes("token 0")) problems.push(`a token out of range: ${JSON.stringify(error)}`);
  const peak = (await megabytes("VmHWM")) - idle;
  console.log(
    `      embeds: ${cold.toFixed(0)} ms cold, ${rate.toFixed(0)} short texts a second, ${peak.toFixed(0)} MB at most`,
  );
  return { problems, peak };
}

export { MOST_MEGABYTES };
