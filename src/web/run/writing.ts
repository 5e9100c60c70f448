import { scoreToken } from "../../evaluate/scores.ts";
import type { Model } from "../../model/model.ts";
import type { GenerateOptions } from "../../model/options.ts";
import type { Tokenizer } from "../../model/tokenizer.ts";
import type { Position, Speed, Token, TokenCandidate } from "./protocol.ts";

/** Likely tokens of each model that a position shows. */
const LIKELY = 5;

/**
 * Lets a model write, and tells each token as it comes.
 * @returns the tokens that were written, and how fast
 */
export async function write(
  model: Model,
  prompt: ArrayLike<number>,
  options: GenerateOptions,
  onToken: (token: Token) => void,
): Promise<{ readonly tokens: readonly Token[]; readonly speed: Speed }> {
  const tokens: Token[] = [];
  let [first, last] = [0, 0];
  try {
    for await (const { id, text } of model.generate(prompt, options)) {
      last = performance.now();
      if (tokens.length === 0) first = last;
      tokens.push({ id, text });
      onToken({ id, text });
    }
  } catch (error) {
    // If it was stopped, the tokens so far are the result.
    if (options.signal?.aborted !== true) throw error;
  }
  const count = tokens.length - 1;
  return { tokens, speed: count < 1 ? null : count / ((last - first) / 1000) };
}

/**
 * What both models expect in the place of each token of a text: both read the
 * same tokens, so that only the models differ.
 * @param ids of the prompt and of the text that follows it
 * @param from where that text begins, at least 1
 */
export async function comparePositions(
  original: Model,
  converted: Model | null,
  ids: Int32Array,
  from: number,
): Promise<Position[]> {
  if (ids.length === from) return [];
  // The prediction of a token is in the row before its own.
  const rows = { from: from - 1 };
  const base = await original.logits(ids, rows);
  const other = converted === null ? null : await converted.logits(ids, rows);
  const { vocabulary } = original.config;
  const row = (logits: Float32Array, i: number) => logits.subarray(i * vocabulary, (i + 1) * vocabulary);
  return Array.from({ length: ids.length - from }, (_, i) => {
    const id = ids[from + i]!;
    const [ofBase, ofOther] = [row(base, i), other === null ? null : row(other, i)];
    return {
      id,
      text: textOf(original.tokenizer!, id),
      candidates: candidatesOf(original.tokenizer!, ofBase, ofOther),
      divergence: ofOther === null ? null : scoreToken(ofBase, ofOther, id).divergence,
    };
  });
}

function candidatesOf(
  tokenizer: Tokenizer,
  base: Float32Array,
  other: Float32Array | null,
): TokenCandidate[] {
  const ids = new Set([...likeliest(base), ...(other === null ? [] : likeliest(other))]);
  const original = probabilitiesOf(base);
  const converted = other === null ? null : probabilitiesOf(other);
  return [...ids].map((id) => ({
    id,
    text: textOf(tokenizer, id),
    original: original(id),
    converted: converted === null ? null : converted(id),
  }));
}

/** The ids of the largest logits, the largest first. */
function likeliest(logits: Float32Array): number[] {
  const found: number[] = [];
  for (let id = 0; id < logits.length; id++) {
    if (found.length === LIKELY && logits[id]! <= logits[found[LIKELY - 1]!]!) continue;
    let place = found.length;
    while (place > 0 && logits[found[place - 1]!]! < logits[id]!) place--;
    found.splice(place, 0, id);
    if (found.length > LIKELY) found.pop();
  }
  return found;
}

function probabilitiesOf(logits: Float32Array): (id: number) => number {
  let top = -Infinity;
  for (const logit of logits) top = Math.max(top, logit);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - top);
  return (id) => Math.exp(logits[id]! - top) / sum;
}

/** A token by itself. Bytes of a character that is not whole have no text of their own. */
export function textOf(tokenizer: Tokenizer, id: number): string {
  return tokenizer.decode([id], { special: true });
}
