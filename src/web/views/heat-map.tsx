import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { DialectName } from "../../checkpoint/dialects/index.ts";
import type { BlockPlace, BlockValues } from "../../checkpoint/measure/block.ts";
import type { ScaleMap } from "../../checkpoint/measure/scale-map.ts";
import { client, problemIn } from "../state/client.ts";
import { appearance } from "../state/settings.ts";
import { problem } from "../state/signals.ts";
import { power, whole } from "../strings/format.ts";
import { words } from "../strings/index.ts";
import { BlockTable } from "./block-table.tsx";
import { coloursOf, type Rgb, rgbOf } from "./colours.ts";
import { ChartFigure } from "./distributions.tsx";
import { words as heatWords } from "./heat-words.ts";

interface HeatMapProps {
  readonly map: ScaleMap;
  /** The tensor, and the dialect it is shown under; `null` for the scales it is stored with. */
  readonly tensor: string;
  readonly dialect: DialectName | null;
}

/** Block scales as a picture: one cell a block, or the largest of several where there are too many. */
export function HeatMap({ map, tensor, dialect }: HeatMapProps): JSX.Element {
  const { precision: text } = words.value;
  const labels = heatWords.value;
  const canvas = useRef<HTMLCanvasElement>(null);
  const face = useRef<HTMLDivElement>(null);
  const [cell, setCell] = useState<number | null>(null);
  const [shown, setShown] = useState<readonly [BlockPlace, BlockValues] | null>(null);
  const [least, most] = useMemo(() => rangeOf(map.exponents), [map]);
  useEffect(() => draw(canvas.current!, map, least, most), [map, least, most, appearance.value]);
  const { rows, cols, exponents } = map;
  const at = (event: MouseEvent) => {
    const box = canvas.current!.getBoundingClientRect();
    const row = Math.min(rows - 1, Math.floor(((event.clientY - box.top) / box.height) * rows));
    const col = Math.min(cols - 1, Math.floor(((event.clientX - box.left) / box.width) * cols));
    return Math.max(0, row) * cols + Math.max(0, col);
  };
  /** Number of the newest request: answers to earlier ones are ignored. */
  const asked = useRef(0);
  const open = (index: number) => {
    const place = placeOf(map, index);
    const turn = ++asked.current;
    client.call("block", tensor, dialect, place).then(
      (values) => {
        if (turn === asked.current) setShown(values === null ? null : [place, values]);
      },
      (error) => {
        problem.value = problemIn(error);
      },
    );
  };
  const keys: { readonly [key: string]: (now: number) => number } = {
    ArrowLeft: (now) => (now % cols > 0 ? now - 1 : now),
    ArrowRight: (now) => (now % cols < cols - 1 ? now + 1 : now),
    ArrowUp: (now) => (now >= cols ? now - cols : now),
    ArrowDown: (now) => (now < (rows - 1) * cols ? now + cols : now),
    Home: (now) => now - (now % cols),
    End: (now) => now - (now % cols) + cols - 1,
  };
  const onKey = (event: KeyboardEvent) => {
    const now = cell ?? 0;
    if (event.key === "Enter" || event.key === " ") open(now);
    else if (keys[event.key] !== undefined) setCell(cell === null ? 0 : keys[event.key]!(now));
    else return;
    event.preventDefault();
  };
  const isShrunk = rows * cols < map.scales;
  const sayCell = (index: number) => {
    const { blockRow, blockCol } = placeOf(map, index);
    return labels.cell(blockRow, blockCol, power(exponents[index]!));
  };
  return (
    <ChartFigure title={text.map} note={text.mapNote(map.block[0], map.block[1])} keys={false}>
      <div class="heat-plot" style={{ "--cells": cols }}>
        <p class="help">{labels.rowAxis}</p>
        <Axis map={map} isRows={true} />
        {/* biome-ignore lint/a11y/useSemanticElements: a picture with a cursor; no element of HTML is one */}
        <div
          ref={face}
          class="heat-face"
          role="group"
          aria-label={`${text.map}: ${power(least)} – ${power(most)}`}
          aria-describedby="heat-cell"
          // biome-ignore lint/a11y/noNoninteractiveTabindex: arrow keys move the cursor
          tabIndex={0}
          data-testid="heat"
          onPointerMove={(event) => setCell(at(event))}
          onPointerLeave={() => setCell(null)}
          onClick={(event) => open(at(event))}
          onFocus={() => setCell((before) => before ?? 0)}
          onKeyDown={onKey}
        >
          <canvas
            ref={canvas}
            class="heat"
            width={cols}
            height={rows}
            style={{ aspectRatio: `${Math.max(0.8, Math.min(4, cols / rows))}` }}
          />
          {cell !== null && (
            <span
              class="matrix-cell"
              style={{
                top: `${(100 * Math.floor(cell / cols)) / rows}%`,
                left: `${(100 * (cell % cols)) / cols}%`,
                height: `${100 / rows}%`,
                width: `${100 / cols}%`,
              }}
            />
          )}
        </div>
        <Axis map={map} isRows={false} />
        <p class="help heat-cols">{labels.colAxis}</p>
      </div>
      <p class="help" id="heat-cell" aria-live="polite">
        {cell !== null ? sayCell(cell) : isShrunk ? text.mapShrunk(whole(map.scales)) : "\u00a0"}
      </p>
      {least === most ? (
        <p class="help">{labels.uniform(power(least))}</p>
      ) : (
        <p class="help ramp-line">
          <span>{power(least)}</span>
          <i class="ramp" aria-hidden="true" />
          <span>{power(most)}</span>
        </p>
      )}
      <p class="help with-keys">{labels.keys}</p>
      <p class="help by-touch">{labels.touch}</p>
      {shown !== null && (
        <BlockTable
          place={shown[0]}
          block={shown[1]}
          onClose={() => {
            asked.current++;
            setShown(null);
            face.current?.focus();
          }}
        />
      )}
    </ChartFigure>
  );
}

function placeOf({ places, blockCols }: ScaleMap, cell: number): BlockPlace {
  const place = places[cell]!;
  return { blockRow: Math.floor(place / blockCols), blockCol: place % blockCols };
}

/** Numbers along one side, at most. */
const TICKS = 5;

/** Numbers of blocks along a side, each with the first row or column of its values. */
function Axis({ map, isRows }: { readonly map: ScaleMap; readonly isRows: boolean }): JSX.Element {
  const cells = isRows ? map.rows : map.cols;
  const size = map.block[isRows ? 0 : 1];
  const count = Math.min(cells, TICKS);
  const ticks = Array.from({ length: count }, (_, i) =>
    count === 1 ? 0 : Math.round((i * (cells - 1)) / (count - 1)),
  );
  return (
    <div class={isRows ? "heat-axis rows" : "heat-axis"} aria-hidden="true">
      {ticks.map((cell) => {
        const { blockRow, blockCol } = placeOf(map, isRows ? cell * map.cols : cell);
        const block = isRows ? blockRow : blockCol;
        const side = `${(100 * (cell + 0.5)) / cells}%`;
        return (
          <span key={cell} style={isRows ? { top: side } : { left: side }}>
            {block}
            {size > 1 && <small>{block * size}</small>}
          </span>
        );
      })}
    </div>
  );
}

function rangeOf(exponents: Int16Array): [number, number] {
  let [least, most] = [Infinity, -Infinity];
  for (const exponent of exponents) {
    if (exponent < least) least = exponent;
    if (exponent > most) most = exponent;
  }
  return [least, most];
}

function draw(canvas: HTMLCanvasElement, map: ScaleMap, least: number, most: number): void {
  const { rampFrom, rampTo } = coloursOf(canvas);
  const [from, to]: readonly [Rgb, Rgb] = [rgbOf(rampFrom), rgbOf(rampTo)];
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(map.cols, map.rows);
  map.exponents.forEach((exponent, i) => {
    // Scales that are all the same have the colour of the middle.
    const part = most === least ? 0.5 : (exponent - least) / (most - least);
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = from[c]! + (to[c]! - from[c]!) * part;
    image.data[4 * i + 3] = 255;
  });
  context.putImageData(image, 0, 0);
}
