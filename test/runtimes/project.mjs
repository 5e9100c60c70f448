// The project that every runtime opens: the installed tarball, the suite as one module, the snippets.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import { createProject, HERE, pack, ROOT } from "./workspace.mjs";

export async function createRuntimeProject(folder) {
  const packed = await pack(folder);
  const path = join(folder, "app");
  await createProject(path, packed.tarball, {
    ".": join(HERE, "app"),
    snippets: join(HERE, "snippets"),
    "examples/worker.mjs": join(ROOT, "test/examples/worker.mjs"),
    "examples/embed-worker.mjs": join(ROOT, "test/examples/embed-worker.mjs"),
    "examples/embed.mjs": join(ROOT, "test/examples/embed.mjs"),
    models: join(ROOT, "test/model/models"),
  });
  await writeFile(join(path, "models/bert/tokenizer.json"), JSON.stringify(wordTokenizer()));
  await build({
    entryPoints: [join(HERE, "conformance.ts")],
    outfile: join(path, "conformance.js"),
    bundle: true,
    format: "esm",
    target: "es2022",
  });
  return { path, ...packed };
}

/** Words of their own for the small BERT: a word piece model of as many tokens as it has. */
function wordTokenizer() {
  const words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "cats", "dogs", "sleep", "run", "fast", "and"];
  const vocab = Object.fromEntries(Array.from({ length: 320 }, (_, i) => [words[i] ?? `[unused${i}]`, i]));
  return {
    version: "1.0",
    added_tokens: [],
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [
        { SpecialToken: { id: "[CLS]", type_id: 0 } },
        { Sequence: { id: "A", type_id: 0 } },
        { SpecialToken: { id: "[SEP]", type_id: 0 } },
      ],
      pair: [],
      special_tokens: {
        "[CLS]": { id: "[CLS]", ids: [2], tokens: ["[CLS]"] },
        "[SEP]": { id: "[SEP]", ids: [3], tokens: ["[SEP]"] },
      },
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab,
    },
  };
}
