/**
 * A tokenizer whose 256 tokens are the bytes of UTF-8, in the form of the tokenizers library: for
 * small models, which have no room for a vocabulary. Bytes are written as the printable characters
 * that byte-level vocabularies use for them.
 */
export function byteTokenizer(): Map<string, Blob> {
  const isPrintable = (b: number) =>
    (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  const vocab: { [character: string]: number } = {};
  let next = 256;
  for (let byte = 0; byte < 256; byte++) vocab[String.fromCharCode(isPrintable(byte) ? byte : next++)] = byte;
  const level = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false };
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: level,
    post_processor: null,
    decoder: level,
    model: { type: "BPE", dropout: null, unk_token: null, vocab, merges: [] },
  };
  return new Map([
    ["tokenizer.json", new Blob([JSON.stringify(tokenizer)])],
    ["tokenizer_config.json", new Blob([JSON.stringify({ tokenizer_class: "PreTrainedTokenizerFast" })])],
  ]);
}
