// Asks an edge worker to convert a checkpoint, and compares what streams back with the files of the command line.
import { readFile, writeFile } from "node:fs/promises";
import { createServer, get } from "node:http";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import { run } from "../workspace.mjs";

const COMMAND = "node_modules/blockscale/dist/cli/main.js";

/** Weights of several sizes, ragged against every block, and what stays as it is: about five megabytes. */
const TENSORS = {
  "model.embed_tokens.weight": [100, 256],
  "model.layers.0.input_layernorm.weight": [256],
  "model.layers.0.mlp.up_proj.weight": [2000, 1000],
  "model.layers.0.mlp.down_proj.weight": [300, 517],
  "model.layers.0.self_attn.q_proj.weight": [1, 32],
};

/** A BF16 checkpoint in one file. */
function checkpoint() {
  const header = {};
  let end = 0;
  for (const [name, shape] of Object.entries(TENSORS)) {
    const start = end;
    end += 2 * shape.reduce((n, size) => n * size, 1);
    header[name] = { dtype: "BF16", shape, data_offsets: [start, end] };
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  // The upper halves of float32 numbers.
  const floats = new Uint32Array(Float32Array.from({ length: end / 2 }, (_, i) => Math.sin(i) / 8).buffer);
  return Buffer.concat([length, text, Buffer.from(Uint16Array.from(floats, (bits) => bits >>> 16).buffer)]);
}

/** A server of one file, by ranges; `work` gets its URL. */
async function serveFile(bytes, work) {
  const server = createServer(({ headers }, response) => {
    const [start, last] = /bytes=(\d+)-(\d+)/.exec(headers.range).slice(1).map(Number);
    const end = Math.min(bytes.length, last + 1);
    response.writeHead(206, { "content-range": `bytes ${start}-${end - 1}/${bytes.length}` });
    response.end(bytes.subarray(start, end));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await work(`http://127.0.0.1:${server.address().port}/model.safetensors`);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

async function problemsOf(name, response, wanted) {
  const body = Buffer.from(await response.arrayBuffer());
  if (response.status !== 200)
    return [`${name}: status ${response.status}, ${body.toString().slice(0, 200)}`];
  const told = response.headers.get("content-length");
  return [
    ...(told === String(wanted.length) ? [] : [`${name}: content-length ${told} of ${wanted.length}`]),
    ...(body.equals(wanted) ? [] : [`${name}: other bytes than in Node`]),
  ];
}

const PLAIN = { "accept-encoding": "identity" };

/** The same with gzip, read without the decoder of fetch: fewer bytes, and the same ones within. */
async function encodedProblems(name, url, wanted) {
  const response = await new Promise((resolve, reject) => {
    get(url, { headers: { "accept-encoding": "gzip" } }, resolve).on("error", reject);
  });
  const body = await buffer(response);
  if (response.headers["content-encoding"] !== "gzip") return [`${name}: not encoded`];
  return [
    ...(body.length < 0.9 * wanted.length ? [] : [`${name}: ${body.length} of ${wanted.length} bytes`]),
    ...(gunzipSync(body).equals(wanted) ? [] : [`${name}: other bytes than in Node`]),
  ];
}

/** What is wrong with the conversions of the worker at `origin`, in words. */
export async function checkpointProblems(project, origin) {
  const bytes = checkpoint();
  await writeFile(join(project, "model.safetensors"), bytes);
  const problems = [];
  for (const dialect of ["deepseek-v3.1", "mxfp8"]) {
    const file = join(project, `${dialect}.safetensors`);
    await run(process.execPath, [COMMAND, "quantize", "model.safetensors", file, "--to", dialect], {
      cwd: project,
    });
    const wanted = await readFile(file);
    const posted = await fetch(`${origin}/?to=${dialect}`, { method: "POST", body: bytes, headers: PLAIN });
    problems.push(...(await problemsOf(`POST, ${dialect}`, posted, wanted)));
    await serveFile(bytes, async (from) => {
      const url = `${origin}/?${new URLSearchParams({ from, to: dialect })}`;
      const asked = await fetch(url, { headers: PLAIN });
      problems.push(...(await problemsOf(`GET, ${dialect}`, asked, wanted)));
      problems.push(...(await encodedProblems(`gzip, ${dialect}`, url, wanted)));
    });
  }
  const wrong = await fetch(`${origin}/?to=mxfp8`, { method: "POST", body: bytes.subarray(0, 100) });
  if (wrong.status !== 422) problems.push(`a file that was cut off: status ${wrong.status}`);
  return problems;
}
