import type { DialectName } from "../../checkpoint/dialects/index.ts";
import type { BlockPlace, BlockValues } from "../../checkpoint/measure/block.ts";
import type { Sample } from "../../checkpoint/measure/sample.ts";
import type { ReportSurvey, TensorBasics } from "../workers/protocol.ts";
import { client } from "./client.ts";

/** The survey and scales that a report shows. */
export function surveyForReport(): Promise<ReportSurvey> {
  return client.call("survey");
}

/** Statistics and first values of a tensor. */
export function basics(tensor: string): Promise<TensorBasics> {
  return client.call("basics", tensor);
}

/** A tensor as a file of NumPy; `null` where NumPy has no such type. */
export function npy(tensor: string): Promise<Blob | null> {
  return client.call("npy", tensor);
}

/** One block of a tensor, under a dialect's scheme or as it is stored. */
export function block(
  tensor: string,
  name: DialectName | null,
  place: BlockPlace,
): Promise<BlockValues | null> {
  return client.call("block", tensor, name, place);
}

export function sample(tensor: string, names: readonly DialectName[], whole: boolean): Promise<Sample[]> {
  return client.call("sample", tensor, names, whole);
}
