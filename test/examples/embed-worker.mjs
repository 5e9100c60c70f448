// An edge worker that embeds texts: POST { "input": ["a text", ...] } or ids of tokens, answered like OpenAI's /v1/embeddings.
// The model's files come from storage that is bound as STORAGE (a bucket behind a fetcher): config.json, model.safetensors, and
// tokenizer.json for texts. An encoder of MiniLM's shapes takes 22 MB of it in FP8.
import { openModel } from "blockscale/model";

const FILES = [
  "config.json",
  "model.safetensors",
  "tokenizer.json",
  "tokenizer_config.json",
  "modules.json",
  "1_Pooling/config.json",
];
let opening;

/** Opened by the first request, and kept for those that follow. */
async function open(storage) {
  const files = new Map();
  for (const name of FILES) {
    const response = await storage.fetch(`http://storage/${name}`);
    if (response.ok) files.set(name, await response.blob());
  }
  return openModel(files);
}

export default {
  async fetch(request, { STORAGE }) {
    try {
      opening ??= open(STORAGE);
      const model = await opening;
      const { input } = await request.json();
      const inputs = typeof input === "string" ? [input] : input;
      const vectors = await model.embed(inputs, { signal: request.signal });
      return Response.json({
        object: "list",
        data: vectors.map((vector, index) => ({ object: "embedding", index, embedding: Array.from(vector) })),
      });
    } catch (error) {
      if (error.name !== "BlockscaleError") throw error;
      return Response.json({ error: { message: error.message } }, { status: 400 });
    }
  },
};
