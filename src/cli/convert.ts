import { pipelineOf } from "../checkpoint/plan/pipeline.ts";
import type { ConversionSettings } from "../jobs/conversion.ts";
import { type ConvertFlags, convertOrder } from "./convert-checkpoint.ts";
import { convertPipeline } from "./convert-pipeline.ts";
import { openInput } from "./input.ts";
import { printResult } from "./results.ts";

/** `blockscale quantize IN OUT` and `blockscale dequantize IN OUT` */
export async function convert(
  from: string,
  to: string,
  task: ConversionSettings,
  flags: ConvertFlags,
  signal: AbortSignal,
): Promise<void> {
  const input = await openInput(from, signal);
  try {
    const pipeline = input.isFolder ? await pipelineOf(input.files) : null;
    const order = { from, to, task, flags, signal };
    if (pipeline === null) await convertOrder(input, order, (result) => printResult(flags, result));
    else await printResult(flags, await convertPipeline(pipeline, order));
  } finally {
    await input.close();
  }
}
