import { availableParallelism } from "node:os";
import { markdownTable } from "markdown-table";
import { estimate } from "../evaluate/divergence.ts";
import type { Evaluation } from "../evaluate/evaluate.ts";
import { isStorable, mixable, type WeightFormat, weightFormatOf } from "../evaluate/formats.ts";
import { measureGroups } from "../evaluate/measured.ts";
import { type Mix, MixEvaluator, mixWithin, uniformMix } from "../evaluate/mix.ts";
import { overridesOf, PlainModel } from "../evaluate/rounded.ts";
import { type SensitiveGroup, type Sensitivity, sensitivityOf } from "../evaluate/sensitivity.ts";
import { worstInText } from "../evaluate/worst.ts";
import { openTokenizer } from "../model/tokenizer.ts";
import { evaluationPage } from "../report/evaluation/page.ts";
import { type MeasuredMix, mixCells } from "../report/evaluation/report.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { idsOf, placesOfEvaluation } from "./evaluate.ts";
import * as figures from "./figures.ts";
import { openInput } from "./input.ts";
import { throwIfInterrupted } from "./interruption.ts";
import { print, printJson } from "./print.ts";
import { type ReservedFile, reserve, reserveReport } from "./report.ts";

export interface SensitivityFlags {
  readonly text?: string;
  readonly tokens?: string;
  readonly context: number;
  readonly formats: string;
  readonly bits: number;
  readonly activations: "f32" | "fp8";
  readonly out?: string;
  readonly threads?: number;
  readonly measure?: true;
  readonly apart?: true;
  readonly report?: string;
  readonly json?: true;
}

/** Tokens that the report lists: those at which the chosen mix and the original differ most. */
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
  const reserved: ReservedFile[] = [];
  try {
    const page = await reserveReport(flags.report, placesOfEvaluation(place, flags));
    if (page !== null) reserved.push(page);
    const overrides = flags.out === undefined ? null : await reserve(flags.out);
    if (overrides !== null) reserved.push(overrides);
    const tokenizer = await openTokenizer(input.files);
    const ids = await idsOf(flags, tokenizer);
    const tried = await tryMixes(await PlainModel.open(input.files), ids, formats, flags, signal);
    const { found, best, points } = tried;
    const { formats: chosen, bitsPerWeight: chosenBits } = best.mix;
    await overrides?.write(`${JSON.stringify(overridesOf(chosen), null, 2)}\n`);
    if (flags.json === true)
      await printJson({
        ...{ model: place, bits: flags.bits, activations: flags.activations },
        ...found,
        ...{ points, chosen: Object.fromEntries(chosen) },
      });
    else await print(tablesOf(found.groups, formats, best.mix, points));
    const { evaluation } = best;
    await page?.write(
      evaluationPage({
        model: place,
        reference: null,
        activations: flags.activations,
        weights: null,
        evaluation,
        worst: worstInText(evaluation, ids, tokenizer, WORST),
        sensitivity: { ...found, bits: flags.bits, chosen, chosenBits, points },
      }),
    );
  } finally {
    for (const file of reserved) await file.discard();
    await input.close();
  }
}

/** The scores of a model's groups, and the mixes that were run. */
interface TriedMixes {
  readonly found: Sensitivity;
  readonly best: Result;
  readonly points: readonly MeasuredMix[];
}

/** Scores the groups, and runs the mixes that the scores propose beside the original. */
async function tryMixes(
  model: PlainModel,
  ids: Int32Array,
  formats: readonly WeightFormat[],
  flags: SensitivityFlags,
  signal: AbortSignal,
): Promise<TriedMixes> {
  const perMatrix = flags.apart === true;
  const { context, activations } = flags;
  const estimated = await sensitivityOf(model, ids, context, formats, { perMatrix, activations, signal });
  const threads = flags.threads ?? availableParallelism();
  const evaluator = await MixEvaluator.open(model, ids, context, { threads, activations, signal });
  const found = flags.measure === true ? await measured(estimated, evaluator, signal) : estimated;
  const mixes = mixesOf(found.groups, formats, flags.bits);
  const results = await resultsOf(evaluator, withoutDuplicates(mixes), signal);
  // Scores only propose: what was measured decides, and a uniform format may be the best mix.
  const within = results.filter(({ mix }) => mix.bitsPerWeight <= flags.bits + 1e-6);
  const best = within.reduce((a, b) => (b.evaluation.kldMean < a.evaluation.kldMean ? b : a));
  return { found, best, points: results.map((result) => pointOf(result, best)) };
}

/**
 * The mixes to run: each uniform format, the best mix of as many bits, the best ones half way between two,
 * and that within the budget. Formats that no dialect stores beside the others are in no mix.
 */
function mixesOf(groups: readonly SensitiveGroup[], formats: readonly WeightFormat[], most: number): Mix[] {
  const uniform = formats.flatMap((format) => uniformMix(groups, format) ?? []);
  const mixed = mixable(formats);
  const choices = groups.map((group) => ({
    ...group,
    effects: group.effects.filter(({ format }) => mixed.includes(format)),
  }));
  const least = fewestBits(choices);
  const bits = uniform.map(({ bitsPerWeight }) => bitsPerWeight).sort((a, b) => a - b);
  const between = bits.slice(1).map((high, i) => (bits[i]! + high) / 2);
  const budgets = [...bits, ...between].filter((budget) => budget >= least);
  // Where only a format that is in no mix has so few bits, there is no mix of as many. Else that is an error.
  const isUniform = most < least && uniform.some(({ bitsPerWeight }) => bitsPerWeight <= most);
  if (!isUniform) budgets.push(most);
  return [...uniform, ...budgets.map((budget) => mixWithin(choices, budget))];
}

/** The fewest bits a weight that a mix takes. */
function fewestBits(groups: readonly SensitiveGroup[]): number {
  const elements = groups.reduce((sum, group) => sum + group.elements, 0);
  const fewest = groups.map(({ effects }) => Math.min(...effects.map(({ bits }) => bits)));
  return fewest.reduce((sum, bits) => sum + bits, 0) / elements;
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

function pointOf(result: Result, best: Result): MeasuredMix {
  const { mix, evaluation } = result;
  const { perplexity, kldMean, sameTop, errors, scores } = evaluation;
  const { bitsPerWeight, score } = mix;
  const { value, error } = estimate(
    scores.map(({ divergence }, i) => divergence - best.evaluation.scores[i]!.divergence),
  );
  return {
    mix: mix.uniform ?? (result === best ? "chosen" : "mixed"),
    bitsPerWeight,
    score,
    perplexity,
    kldMean,
    kldError: errors.kldMean,
    kldOverChosen: value,
    kldOverChosenError: error,
    sameTop,
  };
}

function isSame(a: Mix, b: Mix): boolean {
  return [...a.formats].every(([name, format]) => b.formats.get(name) === format);
}

/** Mixes without those that are the same as an earlier one. */
function withoutDuplicates(mixes: readonly Mix[]): Mix[] {
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
      [
        ["mix", "bits/weight", "score", "perplexity", "mean KLD", "above chosen", "same top"],
        ...points.map(mixCells),
      ],
      align(6),
    ),
  ].join("\n");
}

function notWritten(control: string): BlockscaleError {
  return new BlockscaleError("option", {
    where: "sensitivity: --out",
    expected: "--formats that a checkpoint can hold: nvfp4, mxfp4, mxfp6, fp8, mxfp8, bf16",
    got: `${control}, which is for comparison only: no checkpoint holds it`,
    fix: "Leave it out of --formats, or leave out --out.",
  });
}
