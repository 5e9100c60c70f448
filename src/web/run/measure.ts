import { evaluate, type Predictor, worstTokens } from "../../evaluate/evaluate.ts";
import type { Model } from "../../model/model.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import type { MeasuredText } from "./protocol.ts";
import { textOf } from "./writing.ts";

/** Tokens of a context, as in other tools; fewer where the text or the model has fewer. */
const CONTEXT = 512;

/** Tokens that are shown before each of the worst tokens. */
const BEFORE = 24;

/** How many of the worst tokens are shown. */
const WORST = 8;

/** Fewest tokens that can be measured. */
const LEAST = 16;

/**
 * Perplexity of both models on a text, and how far their predictions are
 * apart, as `blockscale evaluate` computes them.
 * @throws BlockscaleError `option`: too short a text
 */
export async function measureText(
  original: Model,
  converted: Model,
  text: string,
  { signal, onProgress }: { readonly signal?: AbortSignal; readonly onProgress: (share: number) => void },
): Promise<MeasuredText> {
  const tokenizer = original.tokenizer!;
  const ids = tokenizer.encode(text, { special: false });
  if (ids.length < LEAST) throw wrongText(`at least ${LEAST} tokens`, ids.length, "Paste a longer text.");
  const context = 2 * Math.floor(Math.min(CONTEXT, original.config.context, ids.length) / 2);
  const found = await evaluate(predictorOf(converted), ids, {
    context,
    reference: predictorOf(original),
    ...(signal && { signal }),
    onProgress: ({ done, total }) => onProgress(done / total),
  });
  const { errors } = found;
  return {
    tokens: found.tokens,
    context,
    perplexityBase: [found.perplexityBase, errors.perplexityBase],
    perplexity: [found.perplexity, errors.perplexity],
    kldMean: [found.kldMean, errors.kldMean],
    kldMedian: found.kldMedian,
    kld99: found.kld99,
    kldMax: found.kldMax,
    sameTop: [found.sameTop, errors.sameTop],
    rmsDeltaP: [found.rmsDeltaP, errors.rmsDeltaP],
    worst: worstTokens(found.scores, WORST).map(({ index, base, other, divergence }) => ({
      before: tokenizer.decode(ids.slice(Math.max(0, index - BEFORE), index), { special: true }),
      token: textOf(tokenizer, ids[index]!),
      original: Math.exp(base),
      converted: Math.exp(other),
      divergence,
    })),
  };
}

const predictorOf = (model: Model): Predictor => ({ logits: (ids, from) => model.logits(ids, { from }) });

/** A text of a length that cannot be worked with. */
export function wrongText(expected: string, tokens: number, fix: string): BlockscaleError {
  return new BlockscaleError("option", { where: "the text", expected, got: `${tokens} tokens`, fix });
}
