import { availableParallelism } from "node:os";
import { markdownTable } from "markdown-table";
import type { Override } from "../checkpoint/dialects/rules.ts";
import type { Evaluation } from "../evaluate/evaluate.ts";
import { isStorable, type WeightFormat, weightFormatOf } from "../evaluate/formats.ts";
import { measureGroups } from "../evaluate/measured.ts";
import { type Mix, MixEvaluator, mixWithin, uniformMix } from "../evaluate/mix.ts";
import { PlainModel } from "../evaluate/rounded.ts";
import { type SensitiveGroup, type Sensitivity, sensitivityOf } from "../evaluate/sensitivity.ts";
import { worstInText } from "../evaluate/worst.ts";
import { writeText } from "../io/node.ts";
import { openTokenizer } from "../model/tokenizer.ts";
import { evaluationPage } from "../report/evaluation/page.ts";
import { type MeasuredMix, mixCells } from "../report/evaluation/report.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { idsOf, placesOf } from "./evaluate.ts";
import * as figures from "./figures.ts";
import { openInput } from "./input.ts";
import { throwIfInterrupted } from "./interruption.ts";
import { print, printJson } from "./print.ts";
import { type ReservedReport, reserveReport } from "./report.ts";

export interface SensitivityFlags {
  readonly text?: string;
  readonly tokens?: string;
  readonly context: number;
  readonly formats: string;
  readonly bits: number;
  readonly out?: string;
  readonly threads?: number;
  readonly measure?: true;
  readonly apart?: true;
  readonly report?: string;
  readonly json?: true;
}

/** How many of the tokens the report lists at which the chosen mix and the original differ most. */
const WORST = 20;

/** `blockscale sensitivity MODEL`: which layers bear which format, and the best mix within a budget. */
export async function sensitivity(
  place: string,
  flags: SensitivityFlags,
  signal: AbortSignal,
): Promise<void> {
  const formats = [...new Set(flags.formats.split(",").map((name) => weightFormatOf(name.trim())))];
  const control = formats.find((format) => !isStorable(format));
  if (flags.out !== undefined && control !== undefined) throw notWritten(control);
  const input = await openInput(place, signal);
  let page: ReservedReport | null = null;
  let closing: MixEvaluator | null = null;
  try {
    page = await reserveReport(flags.report, placesOf(place, flags));
    const { files } = input;
    const tokenizer = await openTokenizer(files);
    const ids = await idsOf(flags, tokenizer);
    const model = await PlainModel.open(files);
    const estimated = await sensitivityOf(model, ids, flags.context, formats, {
      perMatrix: flags.apart === true,
      signal,
    });
    const threads = flags.threads ?? availableParallelism();
    const evaluator = await MixEvaluator.open(model, ids, flags.context, { threads, signal });
    closing = evaluator;
    const found = flags.measure === true ? await measured(estimated, evaluator, signal) : estimated;
    const { groups } = found;
    const mixes = [...mixesOf(groups, formats), mixWithin(groups, flags.bits)];
    const results = await resultsOf(evaluator, unlike(mixes), signal);
    // Scores only propose: what was measured decides, and a uniform format may be the best mix.
    const within = results.filter(({ mix }) => mix.bitsPerWeight <= flags.bits + 1e-6);
    const best = within.reduce((a, b) => (b.evaluation.kldMean < a.evaluation.kldMean ? b : a));
    const { mix: chosen, evaluation } = best;
    const points = results.map((result) => pointOf(result, result === best));
    if (flags.out !== undefined)
      await writeText(flags.out, `${JSON.stringify(overridesOf(chosen), null, 2)}\n`);
    const record = {
      model: place,
      bits: flags.bits,
      ...found,
      points,
      chosen: Object.fromEntries(chosen.formats),
    };
    if (flags.json === true) await printJson(record);
    else await print(tablesOf(groups, formats, chosen, points));
    await page?.write(
      evaluationPage({
        model: place,
        reference: null,
        activations: null,
        weights: null,
        evaluation,
        worst: worstInText(evaluation, ids, tokenizer, WORST),
        sensitivity: {
          ...found,
          bits: flags.bits,
          chosen: chosen.formats,
          chosenBits: chosen.bitsPerWeight,
          points,
        },
      }),
    );
  } finally {
    await closing?.close();
    await page?.discard();
    await input.close();
  }
}

/** The uniform formats, and beside each the best mix of as many bits, and one half way to the next. */
function mixesOf(groups: readonly SensitiveGroup[], formats: readonly WeightFormat[]): Mix[] {
  const uniform = formats.flatMap((format) => uniformMix(groups, format) ?? []);
  const bits = uniform.map(({ bitsPerWeight }) => bitsPerWeight).sort((a, b) => a - b);
  const between = bits.slice(1).map((most, i) => (bits[i]! + most) / 2);
  return [...uniform, ...[...bits, ...between].map((budget) => mixWithin(groups, budget))];
}

/** Scores groups by runs, and tells how long all will take after the first one. */
function measured(
  estimated: Sensitivity,
  evaluator: MixEvaluator,
  signal: AbortSignal,
): Promise<Sensitivity> {
  const started = performance.now();
  const onProgress = ({ done, total }: { done: number; total: number }) => {
    const left = figures.duration(((performance.now() - started) / 1000 / done) * (total - done));
    if (done === 1) process.stderr.write(`About ${left} for the ${total - 1} groups that are left.\n`);
  };
  return measureGroups(estimated, evaluator, { signal, onProgress });
}

/** A mix, and what it did to the text. */
interface Result {
  readonly mix: Mix;
  readonly evaluation: Evaluation;
}

/** Runs mixes beside the original. @returns in the order of their bits */
async function resultsOf(
  evaluator: MixEvaluator,
  mixes: readonly Mix[],
  signal: AbortSignal,
): Promise<Result[]> {
  const results: Result[] = [];
  for (const mix of mixes) {
    await throwIfInterrupted(signal);
    results.push({ mix, evaluation: await evaluator.evaluate(mix.formats) });
  }
  return results.sort((a, b) => a.mix.bitsPerWeight - b.mix.bitsPerWeight);
}

function pointOf({ mix, evaluation }: Result, isChosen: boolean): MeasuredMix {
  const { perplexity, kldMean, sameTop, errors } = evaluation;
  const { bitsPerWeight, score } = mix;
  const name = mix.uniform ?? (isChosen ? "chosen" : "mixed");
  return { mix: name, bitsPerWeight, score, perplexity, kldMean, kldError: errors.kldMean, sameTop };
}

/** What `quantize --overrides` takes: the format of each weight. */
function overridesOf({ formats }: Mix): Override[] {
  return [...formats].map(([pattern, format]) => ({ pattern, scheme: format === "bf16" ? "keep" : format }));
}

function isSame(a: Mix, b: Mix): boolean {
  return [...a.formats].every(([name, format]) => b.formats.get(name) === format);
}

function unlike(mixes: readonly Mix[]): Mix[] {
  return mixes.filter((mix, i) => !mixes.slice(0, i).some((before) => isSame(before, mix)));
}

function tablesOf(
  groups: readonly SensitiveGroup[],
  formats: readonly WeightFormat[],
  chosen: Mix,
  points: readonly MeasuredMix[],
): string {
  const measured = formats.filter((format) => format !== "bf16");
  const layers = groups.map(({ name, weights, effects }) => [
    name,
    ...measured.map((format) => {
      const effect = effects.find((one) => one.format === format);
      return effect === undefined ? "-" : `${effect.sqnr.toFixed(1)} dB, ${effect.score.toExponential(2)}`;
    }),
    chosen.formats.get(weights[0]!)!,
  ]);
  const align = (count: number) => ({ align: ["l", ...Array<string>(count).fill("r")] });
  return [
    "SQNR of each layer's output, and its effect on the loss",
    markdownTable([["layer", ...measured, "chosen"], ...layers], align(measured.length)),
    "",
    "Bits and KL divergence",
    markdownTable(
      [["mix", "bits/weight", "score", "perplexity", "mean KLD", "same top"], ...points.map(mixCells)],
      align(5),
    ),
  ].join("\n");
}

function notWritten(control: string): BlockscaleError {
  return new BlockscaleError("option", {
    where: "sensitivity: --out",
    expected: "--formats that a checkpoint can hold: nvfp4, mxfp4, fp8, mxfp8, bf16",
    got: `${control}, a control`,
    fix: "Leave it out of --formats, or leave out --out.",
  });
}
