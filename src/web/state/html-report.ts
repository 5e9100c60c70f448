import { reportPage } from "../../report/page.ts";
import { conversionReport } from "../../report/report.ts";
import { languages } from "../../report/words.ts";
import { language, translated } from "../strings/index.ts";
import type { ReportSurvey } from "../workers/protocol.ts";
import { isFolder, name, outputFileName, plannedChoice, result, summary } from "./signals.ts";

/** The report of a finished conversion, as one page that opens offline. */
export function htmlReport({ survey, scales }: ReportSurvey): string {
  const choice = plannedChoice.value!;
  const report = conversionReport({
    kind: choice.action,
    input: name.value,
    output: isFolder.value ? null : outputFileName.value,
    format: choice.action === "quantize" ? choice.to : choice.dtype,
    summary: summary()!,
    files: result.value!.written.map(({ name, size, checksum }) => ({ name, bytes: size, checksum })),
    survey,
    scales,
  });
  const tensors = report.tensors.map((tensor) => ({
    ...tensor,
    note: tensor.note === null ? null : translated(tensor.note),
  }));
  return reportPage({ ...report, tensors }, languages[language.value]);
}
