import type { JSX } from "preact";
import { FORMATS } from "../../tensor/formats.ts";
import { power, smallPercent } from "../strings/format.ts";
import { FigureRows } from "../views/figure-rows.tsx";
import { blockOf, fateOf, type QuantizedMatrix } from "./measure.ts";
import { COLS } from "./state.ts";
import { words } from "./words.ts";

/** Seven digits, as many as a float32 has. */
const number = (value: number): string => String(Number(value.toPrecision(7)));

/** What became of the cell that is pointed at, step by step. */
export function Readout({
  found,
  cell,
}: {
  readonly found: QuantizedMatrix;
  readonly cell: number;
}): JSX.Element {
  const { readout } = words.value;
  const { tensor, values, elements, codes, scales, dequantized } = found;
  const block = blockOf(found, cell);
  const digits = Math.ceil(FORMATS[tensor.format].codeBits / 4);
  const hex = `0x${codes[cell]!.toString(16).toUpperCase().padStart(digits, "0")}`;
  const byte = tensor.scales instanceof Uint8Array ? tensor.scales[block]! : null;
  const isPower = byte !== null && tensor.tensorScale === undefined;
  const scale = isPower ? `${power(byte - 127)} (${byte})` : number(scales[block]!);
  const error = Math.abs(dequantized[cell]! - values[cell]!);
  const rows: [string, string, string][] = [
    ["value", readout.value, number(values[cell]!)],
    ["code", readout.code, `${hex} = ${number(elements[cell]!)}`],
    ["scale", readout.scale, scale],
    [
      "product",
      readout.product,
      `${number(elements[cell]!)} × ${isPower ? power(byte - 127) : scale} = ${number(dequantized[cell]!)}`,
    ],
    [
      "error",
      readout.error,
      `${number(error)}${values[cell] === 0 ? "" : ` (${smallPercent(error / Math.abs(values[cell]!))})`} · ${readout.fates[fateOf(found, cell)]}`,
    ],
  ];
  return (
    <dl class="figures readout" id="readout" data-testid="readout" aria-live="polite">
      <div class="readout-cell">
        <dt>{readout.cell(Math.floor(cell / COLS), cell % COLS)}</dt>
        <dd class="hidden">{readout.fates[fateOf(found, cell)]}</dd>
      </div>
      <FigureRows rows={rows} />
    </dl>
  );
}
