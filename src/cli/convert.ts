import { pipelineOf } from "../checkpoint/plan/pipeline.ts";
import type { ConversionSettings } from "../jobs/conversion.ts";
import { reportPage } from "../report/page.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { type ConversionJob, type ConvertFlags, convertOne } from "./convert-one.ts";
import { convertPipeline } from "./convert-pipeline.ts";
import * as figures from "./figures.ts";
import { openInput } from "./input.ts";
import {
  type Prefixed,
  type ReportedConversion,
  type ReservedFile,
  reportOfConversions,
  reserveReport,
} from "./report.ts";
import { type CommandResult, printResult } from "./results.ts";

/** `blockscale quantize IN OUT` and `blockscale dequantize IN OUT` */
export async function convert(
  from: string,
  to: string,
  task: ConversionSettings,
  flags: ConvertFlags,
  signal: AbortSignal,
): Promise<void> {
  const input = await openInput(from, signal);
  let page: ReservedFile | null = null;
  try {
    const pipeline = input.isFolder ? await pipelineOf(input.files) : null;
    const job = { from, to, task, flags, signal };
    if (flags.dryRun !== true) page = await reserveReport(flags.report, [from, to]);
    const print = (result: CommandResult) => printResult(flags, result);
    let models: Prefixed<ReportedConversion>[];
    if (pipeline !== null) models = await convertPipeline(pipeline, job, print);
    else {
      const made = await convertOne(input, job, print);
      models = made === null ? [] : [{ ...made, prefix: "" }];
    }
    if (page !== null) await writePage(page, job, models);
  } finally {
    await page?.discard();
    await input.close();
  }
}

/**
 * Writes the page of a report, for which the input is read once more. If that
 * fails, the conversion is whole all the same.
 */
async function writePage(
  page: ReservedFile,
  { from, to, task: { direction }, signal }: ConversionJob,
  models: readonly Prefixed<ReportedConversion>[],
): Promise<void> {
  try {
    await page.write(reportPage(await reportOfConversions({ from, to, direction }, models, signal)));
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof BlockscaleError)) throw error;
    console.error(
      figures.text(`blockscale: the output is whole, but there is no report of it: ${error.message}`),
    );
  }
}
