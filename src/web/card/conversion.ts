import type { Summary } from "../../checkpoint/measure/summary.ts";
import { bytes, signedPercent, smallPercent, sqnrText } from "../strings/format.ts";
import { words } from "../strings/index.ts";
import type { CardContent } from "./content.ts";

interface Conversion {
  readonly name: string;
  /** The dialect, or the type of plain values. */
  readonly to: string;
  /** Bytes of all files. */
  readonly before: number;
  readonly after: number;
  readonly summary: Pick<Summary, "tensors" | "total">;
}

/** A conversion that is done. */
export function cardOfConversion({ name, to, before, after, summary }: Conversion): CardContent {
  const { card, precision: text } = words.value;
  const { precision } = summary.total;
  const points = summary.tensors.flatMap((tensor) => tensor.precision?.sqnrDb ?? []);
  return {
    title: name,
    subtitle: to,
    figures: [
      { label: `${bytes(before)} → ${bytes(after)}`, value: signedPercent(after / before - 1) },
      ...(precision === null
        ? []
        : [{ label: text.sqnr, value: sqnrText(precision.sqnrDb, precision.nonFinite) }]),
      ...(precision?.sqnrDb == null || !Number.isFinite(precision.sqnrDb)
        ? []
        : [{ label: card.noise, value: smallPercent(10 ** (-precision.sqnrDb / 20)) }]),
    ],
    ...(points.length > 1 && {
      below: { kind: "points", label: `${text.perTensor} (dB)`, series: [{ name: to, values: points }] },
    }),
  };
}
