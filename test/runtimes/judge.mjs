// What a report must be: every engine free of failures, and every hash the expected one.
import { readFile } from "node:fs/promises";

const expected = JSON.parse(await readFile(new URL("hashes.json", import.meta.url), "utf8"));

/** What is wrong with the reports of one place, as lines of text; none if all is well. */
export function problemsOf(reports, wantedBuild) {
  if (reports.error !== undefined) return [reports.error];
  const { chosen } = reports;
  const choice = chosen.variant === wantedBuild ? [] : [`build ${chosen.variant} instead of ${wantedBuild}`];
  return Object.entries(reports).reduce((problems, [engine, report]) => {
    const wrong = Object.keys({ ...expected, ...report.hashes }).filter(
      (name) => expected[name] !== report.hashes[name],
    );
    return problems.concat(
      report.failures.map((failure) => `${engine}: ${failure}`),
      wrong.map((name) => `${engine}: other bits in "${name}"`),
    );
  }, choice);
}

/** One line of the table: a runtime, a place in it, and what was found there. */
export function verdict(runtime, version, place, build, reports) {
  return { runtime, version, place, build, problems: problemsOf(reports, build) };
}

/** The same for threads, whose problems are told in words. */
export function threadsVerdict(runtime, version, place, build, { problems, error }) {
  return { runtime, version, place, build, problems: problems ?? [error] };
}
