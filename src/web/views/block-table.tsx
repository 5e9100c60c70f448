import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { BlockPlace, BlockValues } from "../../checkpoint/measure/block.ts";
import { number } from "../strings/format.ts";
import { FigureRows } from "./figure-rows.tsx";
import { words } from "./heat-words.ts";
import { Icon } from "./icons.tsx";

interface BlockTableProps {
  readonly place: BlockPlace;
  readonly block: BlockValues;
  onClose(): void;
}

const range = (first: number, count: number): string =>
  count === 1 ? String(first) : `${first}–${first + count - 1}`;

/** The values of one block, each as it was and as it became. */
export function BlockTable({ place, block, onClose }: BlockTableProps): JSX.Element {
  const text = words.value;
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), [place]);
  const { slice, firstRow, firstCol, rows, cols, after } = block;
  const [height, width] = block.shown;
  const figures: [string, string, string][] = [
    ["scale", text.scale, number(block.scale)],
    ["amax", text.amax, number(block.amax)],
    ...(after === null
      ? []
      : ([["error", text.error, number(block.error)]] satisfies [string, string, string][])),
  ];
  return (
    <div class="block" data-testid="block">
      <header>
        <h4 id="block-heading" ref={heading} tabIndex={-1}>
          {text.heading(place.blockRow, place.blockCol)}
        </h4>
        <button type="button" class="quiet square" aria-label={text.close} onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      <p class="help">{text.place(slice, range(firstRow, rows), range(firstCol, cols))}</p>
      <dl class="figures">
        <FigureRows rows={figures} />
      </dl>
      {(height < rows || width < cols) && <p class="help">{text.some(height, width, rows, cols)}</p>}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be in reach of the keyboard */}
      <section class="scroll" tabIndex={0} aria-labelledby="block-heading">
        <Values block={block} />
      </section>
    </div>
  );
}

/** A line for each row of the block; two, where the values have changed. */
function Values({ block }: Pick<BlockTableProps, "block">): JSX.Element {
  const text = words.value;
  const { firstRow, firstCol, before, after } = block;
  const [height, width] = block.shown;
  const lines: readonly (readonly [string, Float32Array])[] =
    after === null
      ? [[text.stored, before]]
      : [
          [text.before, before],
          [text.after, after],
        ];
  return (
    <table class="values">
      <thead>
        <tr>
          <td colSpan={2} />
          {Array.from({ length: width }, (_, c) => (
            <th key={c} scope="col">
              {firstCol + c}
            </th>
          ))}
        </tr>
      </thead>
      {Array.from({ length: height }, (_, r) => (
        <tbody key={r}>
          {lines.map(([label, values], i) => (
            <tr key={label} class={i === 1 ? "after" : ""}>
              {i === 0 && (
                <th scope="rowgroup" rowSpan={lines.length}>
                  {firstRow + r}
                </th>
              )}
              <th scope="row">{label}</th>
              {Array.from(values.subarray(r * width, (r + 1) * width), (value, c) => (
                <td key={c}>{number(value)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      ))}
    </table>
  );
}
