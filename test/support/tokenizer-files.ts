/** Bytes as the printable characters that byte-level vocabularies write them as. */
function byteCharacters(): string[] {
  const isPrintable = (b: number) =>
    (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCharCode(isPrintable(b) ? b : next++));
}

/** Tokens 256 and on: pairs that are merged. */
const MERGES = [
  ["t", "h"],
  ["th", "e"],
  ["i", "n"],
  ["Ġ", "the"],
] as const;

/** Special tokens behind them. */
export const SPECIAL = { start: 260, end: 261 };

/**
 * A small byte-level vocabulary of 262 tokens in the form of the tokenizers library, with a chat template.
 */
export function tokenizerFiles(): Map<string, Blob> {
  const vocab: Record<string, number> = {};
  byteCharacters().forEach((character, byte) => {
    vocab[character] = byte;
  });
  MERGES.forEach((pair, i) => {
    vocab[pair.join("")] = 256 + i;
  });
  const added = (id: number, content: string) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [added(SPECIAL.start, "<|start|>"), added(SPECIAL.end, "<|end|>")],
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      vocab,
      merges: MERGES.map((pair) => pair.join(" ")),
    },
  };
  const template =
    "{% for message in messages %}<|start|>{{ message.role }}\n{{ message.content }}<|end|>{% endfor %}" +
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}";
  const config = { eos_token: "<|end|>", chat_template: template };
  return new Map([
    ["tokenizer.json", new Blob([JSON.stringify(tokenizer)])],
    ["tokenizer_config.json", new Blob([JSON.stringify(config)])],
  ]);
}
