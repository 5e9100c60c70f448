import type { Override } from "../checkpoint/dialects/overrides.ts";
import {
  matcher,
  refuseUnmatched,
  refuseUnmatchedSelection,
  SELECTION,
  type Selection,
} from "../checkpoint/dialects/rules.ts";
import { chooseFiles, openCheckpoint } from "../checkpoint/plan/folder.ts";
import type { Pipeline } from "../checkpoint/plan/pipeline.ts";
import { resolveWeights } from "../checkpoint/read/resolve.ts";
import type { ConversionJob } from "./convert-one.ts";

interface Named {
  readonly name: string;
}

/** Options of a task that hold patterns of tensors. */
interface Patterns extends Selection {
  readonly overrides?: readonly Override[];
}

/**
 * Makes the jobs for the models of a pipeline, each with those patterns alone that fit in it: what is meant
 * for one model must not be an error in another. A model in which nothing is chosen gets no job.
 * @param names of the models that may be converted
 * @throws BlockscaleError `option`: a pattern that fits in none of them
 */
export async function jobsOf(
  { components }: Pipeline,
  names: readonly string[],
  job: ConversionJob,
): Promise<ReadonlyMap<string, ConversionJob>> {
  const { task, flags, from } = job;
  const patterns: Patterns = task.options;
  const jobs = new Map<string, ConversionJob>();
  const tensors: Named[] = [];
  const shards: Named[] = [];
  for (const component of names) {
    const files = components.get(component)!;
    const ofFiles = [...files.keys()]
      .filter((name) => name.endsWith(".safetensors"))
      .map((name) => ({ name }));
    const fit = fitting(flags.files ?? [], ofFiles);
    // Without a pattern of its own a model is read as ever.
    const chosen = fit.length > 0 ? fit : undefined;
    const place = `${from}/${component}`;
    const { checkpoint } = await openCheckpoint(chooseFiles(files, chosen).files, place);
    const weights = resolveWeights(checkpoint, { missingScale: "one" });
    shards.push(...ofFiles);
    tensors.push(...weights);
    const own = patternsFor(patterns, weights);
    if (choosesNothing(own, job)) continue;
    const options = { ...task.options, ...own };
    jobs.set(component, {
      ...job,
      from: place,
      flags: { ...flags, files: chosen },
      task: { ...task, options },
    });
  }
  refuseUnmatched("files", flags.files, shards);
  refuseUnmatchedSelection(patterns, tensors);
  const overrides = patterns.overrides?.filter(isOverride).map(({ pattern }) => pattern);
  refuseUnmatched("overrides", overrides, tensors);
  return jobs;
}

/**
 * The patterns that fit in a model. Lists of which none fits stay, empty: `only` then still means no others.
 * What is no override at all stays too, to be refused by the planner.
 */
function patternsFor(patterns: Patterns, weights: readonly Named[]): Patterns {
  const given = SELECTION.filter((option) => patterns[option] !== undefined);
  const own: Patterns = Object.fromEntries(
    given.map((option) => [option, fitting(patterns[option]!, weights)]),
  );
  const overrides = patterns.overrides?.filter(
    (found) => !isOverride(found) || fitsAny(found.pattern, weights),
  );
  return overrides === undefined ? own : { ...own, overrides };
}

/** Whether a command chooses certain weights, of which a model has none. */
function choosesNothing({ only, include, also }: Patterns, { task }: ConversionJob): boolean {
  const isChosen = only !== undefined || (task.direction.kind === "dequantize" && include !== undefined);
  return isChosen && [only, include, also].every((fit = []) => fit.length === 0);
}

function isOverride(found: Override): boolean {
  return typeof found?.pattern === "string";
}

function fitsAny(pattern: string, names: readonly Named[]): boolean {
  const fits = matcher(pattern);
  return names.some(({ name }) => fits(name));
}

function fitting(patterns: readonly string[], names: readonly Named[]): readonly string[] {
  return patterns.filter((pattern) => fitsAny(pattern, names));
}
