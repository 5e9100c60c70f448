import type { GenerateOptions } from "../model/options.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { type ModelFlags, openModelAt, precisionsNamed, standardInput } from "./model-input.ts";
import { printJson } from "./print.ts";

/** How an answer is sampled, on the command line. */
export interface SamplingFlags extends ModelFlags {
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly seed?: number;
  readonly stop?: string[];
}

export function samplingOf(flags: SamplingFlags): GenerateOptions {
  const { maxTokens, temperature, topK, topP, minP, seed, stop } = flags;
  return { maxTokens, temperature, topK, topP, minP, seed, stop };
}

/** `blockscale generate MODEL [PROMPT]` */
export async function generate(
  place: string,
  given: string | undefined,
  flags: SamplingFlags & { readonly ids?: string; readonly json?: true },
  signal: AbortSignal,
): Promise<void> {
  const ids = flags.ids === undefined ? undefined : idsOf(flags.ids);
  const opened = await openModelAt(place, flags, signal);
  try {
    const { model } = opened;
    if (flags.json !== true) process.stderr.write(`${opened.name}: ${precisionsNamed(model.precisions)}\n`);
    const prompt = ids ?? withoutLineEnd(given ?? (await standardInput()));
    const started = performance.now();
    let first = started;
    const found: { id: number; logProbability: number | undefined }[] = [];
    let text = "";
    const options = { ...samplingOf(flags), signal, logProbabilities: flags.json === true };
    for await (const token of model.generate(prompt, options)) {
      if (found.length === 0) first = performance.now();
      if (token.id >= 0) found.push({ id: token.id, logProbability: token.logProbability });
      text += token.text;
      if (flags.json !== true) process.stdout.write(model.tokenizer === null ? `${token.id} ` : token.text);
    }
    const ended = performance.now();
    if (flags.json !== true) {
      process.stdout.write("\n");
      return;
    }
    const promptTokens = typeof prompt === "string" ? model.tokenizer!.encode(prompt).length : prompt.length;
    const rate = (n: number, ms: number) => (ms > 0 ? (1000 * n) / ms : null);
    await printJson({
      model: opened.name,
      ...model.precisions,
      ids: found.map(({ id }) => id),
      logProbabilities: found.map(({ logProbability }) => logProbability),
      text: model.tokenizer === null ? null : text,
      promptTokens,
      promptTokensPerSecond: rate(promptTokens, first - started),
      tokensPerSecond: found.length > 1 ? rate(found.length - 1, ended - first) : null,
    });
  } finally {
    await opened.close();
  }
}

/** A prompt without the line end that a shell or an editor leaves behind it. */
function withoutLineEnd(text: string): string {
  return text.replace(/\r?\n$/, "");
}

/** Ids of tokens from a text: separated by spaces or commas. */
function idsOf(text: string): number[] {
  const parts = text.split(/[\s,]+/).filter((part) => part !== "");
  const ids = parts.map(Number);
  if (ids.length > 0 && ids.every((id) => Number.isInteger(id) && id >= 0)) return ids;
  throw new BlockscaleError("option", {
    where: "--ids",
    expected: "whole numbers, apart by spaces or commas",
    got: JSON.stringify(text),
    fix: "Write them as --ids '1 2 3'.",
  });
}
