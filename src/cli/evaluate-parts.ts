import { createHash } from "node:crypto";
import type { ScoredToken } from "../evaluate/evaluate.ts";
import { makeFolderAt, placeIn, readTextAt, writeTextAt } from "../io/place.ts";
import {
  checkEvaluation,
  completedSpec,
  type EvaluationSpec,
  packScores,
  refuseOtherEvaluation,
  unpackScores,
} from "../jobs/evaluation.ts";
import { MOST_PARTS, type PartNumber } from "../jobs/parts.ts";
import { parseQueue } from "../jobs/queue/connection.ts";
import { evaluationWork } from "../jobs/queue/evaluation.ts";
import { refuseSecrets } from "../jobs/queue/places.ts";
import { hasKeys, isText, LONGEST_PATH, parsed, refuseRecord } from "../jobs/spec.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import {
  type EvaluateFlags,
  evaluate,
  type OpenedEvaluation,
  type Scoring,
  scoreHere,
  withEvaluation,
} from "./evaluate.ts";
import * as figures from "./figures.ts";
import { placeOf } from "./part.ts";
import { print, printJson } from "./print.ts";
import { runByWorkers } from "./queue.ts";
import { version } from "./version.ts";

// Evaluations by several machines: each scores some chunks of the text, and the sums are taken over all
// scores in the order of the text.

function specHere(place: string, flags: EvaluateFlags, { inputs }: OpenedEvaluation): EvaluationSpec {
  const { context, activations, weights, cache, against } = flags;
  const places = { model: placeOf(place), against: against === undefined ? null : placeOf(against) };
  return completedSpec({ version: version(), ...places, context, activations, weights, cache }, inputs);
}

/** `blockscale evaluate MODEL --queue redis://…`: workers score chunks. */
export async function evaluateQueued(
  place: string,
  flags: EvaluateFlags & { readonly queue: string; readonly chunks: number },
  signal: AbortSignal,
): Promise<void> {
  const connection = parseQueue(flags.queue);
  for (const one of [place, flags.against ?? place]) refuseSecrets(one);
  await evaluate(place, flags, signal, async (opened) => {
    const { work, scores } = evaluationWork(specHere(place, flags, opened), opened.ids, flags.chunks);
    await runByWorkers(connection, work, flags.json === true, signal);
    return scores();
  });
}

/** What the parts of one evaluation have in common, beside their scores. */
interface PartsRecord {
  readonly spec: EvaluationSpec;
  readonly parts: number;
  /** `--text` or `--tokens`, and the file. */
  readonly source: "text" | "tokens";
  readonly file: string;
  /** SHA-256 of the ids. */
  readonly ids: string;
}

const RECORD = "evaluation.json";
const nameOf = ({ part, of }: PartNumber): string => `scores-${part}-of-${of}.json`;

/** The chunks of a part as [first, end), `end` being none of them: parts differ by one chunk at most. */
function chunksOf(
  { part, of }: PartNumber,
  { context }: EvaluationSpec,
  ids: Int32Array,
): readonly [number, number] {
  const chunks = Math.floor(ids.length / context);
  return [Math.floor(((part - 1) * chunks) / of), Math.floor((part * chunks) / of)];
}

/** `blockscale evaluate MODEL --part i/N --out FOLDER`: scores the chunks of one part. */
export async function evaluatePart(
  place: string,
  flags: EvaluateFlags & { readonly part: PartNumber; readonly out: string },
  signal: AbortSignal,
): Promise<void> {
  const { part, out } = flags;
  await withEvaluation(place, flags, signal, async (opened) => {
    const record = recordOf(place, flags, opened);
    const { spec } = record;
    await joinEvaluation(out, record);
    const chunks = chunksOf(part, spec, opened.ids);
    const ids = opened.ids.subarray(chunks[0] * spec.context, chunks[1] * spec.context);
    const isMade = (await scoresIn(out, part, spec, chunks)) !== null;
    if (!isMade) {
      const scores = ids.length === 0 ? [] : await scoreHere({ ...opened, ids }, flags, signal);
      const made = { fingerprint: spec.fingerprint, scores: packScores(scores) };
      await writeTextAt(placeIn(out, nameOf(part)), JSON.stringify(made));
    }
    const count = chunks[1] - chunks[0];
    if (flags.json === true) await printJson({ output: out, ...part, chunks: count, made: !isMade });
    else
      await print(
        `Part ${part.part} of ${part.of}: ${count} chunks, ${isMade ? "made before" : "made now"}. When all parts are done: blockscale finish ${figures.text(out)}`,
      );
  });
}

function recordOf(
  place: string,
  flags: EvaluateFlags & { readonly part: PartNumber },
  opened: OpenedEvaluation,
): PartsRecord {
  return {
    spec: specHere(place, flags, opened),
    parts: flags.part.of,
    source: flags.tokens === undefined ? "text" : "tokens",
    file: placeOf(flags.tokens ?? flags.text!),
    ids: hashOf(opened.ids),
  };
}

const hashOf = (ids: Int32Array): string => createHash("sha256").update(ids).digest("hex");

/** @throws BlockscaleError `option`: the folder belongs to another evaluation */
async function joinEvaluation(out: string, record: PartsRecord): Promise<void> {
  await makeFolderAt(out);
  const found = await findEvaluation(out);
  if (found === null) return writeTextAt(placeIn(out, RECORD), JSON.stringify(record));
  refuseOtherEvaluation(out, found.spec, record.spec);
  if (found.parts === record.parts && found.ids === record.ids) return;
  throw new BlockscaleError("option", {
    where: out,
    expected: `parts of ${found.parts}, of the same text as the others`,
    got: found.parts === record.parts ? "another text" : `a part of ${record.parts}`,
    fix: "Give the same options to all parts, or another --out.",
  });
}

/** The evaluation whose parts a folder holds; `null` where there is none. */
export async function findEvaluation(folder: string): Promise<PartsRecord | null> {
  const where = placeIn(folder, RECORD);
  const text = await readTextAt(where);
  if (text === null) return null;
  const value = parsed(text);
  const isRecord =
    hasKeys(value, ["spec", "parts", "source", "file", "ids"]) &&
    Number.isInteger(value.parts) &&
    (value.parts as number) >= 1 &&
    (value.parts as number) <= MOST_PARTS &&
    ["text", "tokens"].includes(value.source as string) &&
    isText(value.file, LONGEST_PATH) &&
    isText(value.ids, 64);
  if (!isRecord) return refuseRecord(where, "a record of an evaluation", value);
  return { ...(value as unknown as PartsRecord), spec: checkEvaluation(where, value.spec) };
}

async function scoresIn(
  folder: string,
  part: PartNumber,
  { context, fingerprint }: EvaluationSpec,
  chunks: readonly [number, number],
): Promise<ScoredToken[] | null> {
  const value = parsed((await readTextAt(placeIn(folder, nameOf(part)))) ?? "");
  const isOurs = hasKeys(value, ["fingerprint", "scores"]) && value.fingerprint === fingerprint;
  return isOurs ? unpackScores(value.scores, context, chunks) : null;
}

/** `blockscale finish OUT` of an evaluation: the figures of all parts together. */
export async function finishEvaluation(
  out: string,
  record: PartsRecord,
  flags: Pick<EvaluateFlags, "json" | "worst">,
  signal: AbortSignal,
): Promise<void> {
  const { spec, parts, source, file } = record;
  const { model, against, context, activations, weights, cache } = spec;
  const score: Scoring = async (opened) => {
    refuseOtherEvaluation(out, spec, completedSpec({ ...spec, version: version() }, opened.inputs));
    if (hashOf(opened.ids) !== record.ids) throw otherText(file);
    const missing: number[] = [];
    const scores: ScoredToken[] = [];
    for (let part = 1; part <= parts; part++) {
      const found = await scoresIn(
        out,
        { part, of: parts },
        spec,
        chunksOf({ part, of: parts }, spec, opened.ids),
      );
      if (found === null) missing.push(part);
      else for (const one of found) scores.push(one);
    }
    if (missing.length > 0) throw incomplete(out, parts, missing);
    return scores;
  };
  const asked = { ...flags, context, activations, weights, cache, [source]: file };
  await evaluate(model, against === null ? asked : { ...asked, against }, signal, score);
}

function otherText(file: string): BlockscaleError {
  return new BlockscaleError("option", {
    where: file,
    expected: "the text that the parts were scored on",
    got: "another one",
    fix: "Bring it back, or score the parts again in a new --out.",
  });
}

function incomplete(out: string, parts: number, missing: readonly number[]): BlockscaleError {
  const shown = missing.slice(0, 5).join(", ");
  return new BlockscaleError("io", {
    where: out,
    expected: `the scores of all ${parts} parts`,
    got: `none of part ${shown}${missing.length > 5 ? " and others" : ""}`,
    fix: "Run the parts that are not done; what is done is not done twice.",
  });
}
