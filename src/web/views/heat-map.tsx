import type { JSX, RefObject } from "preact";
import { type Dispatch, type StateUpdater, useEffect, useMemo, useRef, useState } from "preact/hooks";
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

type Range = readonly [least: number, most: number];

/** Block scales as a picture: one cell a block, or the largest of several where there are too many. */
export function HeatMap({ map, tensor, dialect }: HeatMapProps): JSX.Element {
  const { precision: text } = words.value;
  const labels = heatWords.value;
  const face = useRef<HTMLDivElement>(null);
  const [cell, setCell] = useState<number | null>(null);
  const { shown, open, close } = useBlock(map, tensor, dialect);
  const range = useMemo(() => rangeOf(map.exponents), [map]);
  const isShrunk = map.rows * map.cols < map.scales;
  return (
    <ChartFigure title={text.map} note={text.mapNote(map.block[0], map.block[1])} keys={false}>
      <div class="heat-plot" style={{ "--cells": map.cols }}>
        <p class="help">{labels.rowAxis}</p>
        <Axis map={map} isRows={true} />
        <Face map={map} range={range} face={face} cell={cell} onCell={setCell} onOpen={open} />
        <Axis map={map} isRows={false} />
        <p class="help heat-cols">{labels.colAxis}</p>
      </div>
      <p class="help" id="heat-cell" aria-live="polite">
        {cell !== null ? wordsOf(map, cell) : isShrunk ? text.mapShrunk(whole(map.scales)) : "\u00a0"}
      </p>
      <Ramp range={range} />
      <p class="help with-keys">{labels.keys}</p>
      <p class="help by-touch">{labels.touch}</p>
      {shown !== null && (
        <BlockTable
          place={shown[0]}
          block={shown[1]}
          onClose={() => {
            close();
            face.current?.focus();
          }}
        />
      )}
    </ChartFigure>
  );
}

/** The block whose values are shown, and what opens and closes it. */
function useBlock(map: ScaleMap, tensor: string, dialect: DialectName | null) {
  const [shown, setShown] = useState<readonly [BlockPlace, BlockValues] | null>(null);
  /** Number of the newest request: answers to earlier ones are ignored. */
  const asked = useRef(0);
  const open = (cell: number) => {
    const place = placeOf(map, cell);
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
  const close = () => {
    asked.current++;
    setShown(null);
  };
  return { shown, open, close };
}

/** Where a key moves the cursor to from a cell. */
const MOVES: { readonly [key: string]: (from: number, { rows, cols }: ScaleMap) => number } = {
  ArrowLeft: (from, { cols }) => (from % cols > 0 ? from - 1 : from),
  ArrowRight: (from, { cols }) => (from % cols < cols - 1 ? from + 1 : from),
  ArrowUp: (from, { cols }) => (from >= cols ? from - cols : from),
  ArrowDown: (from, { rows, cols }) => (from < (rows - 1) * cols ? from + cols : from),
  Home: (from, { cols }) => from - (from % cols),
  End: (from, { cols }) => from - (from % cols) + cols - 1,
};

interface FaceProps {
  readonly map: ScaleMap;
  readonly range: Range;
  /** The element that takes the keys. */
  readonly face: RefObject<HTMLDivElement | null>;
  /** Where the cursor is. */
  readonly cell: number | null;
  onCell: Dispatch<StateUpdater<number | null>>;
  onOpen(cell: number): void;
}

/** The picture itself, and the cursor in it, which follows the pointer and the arrow keys. */
function Face({ map, range, face, cell, onCell, onOpen }: FaceProps): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => draw(canvas.current!, map, range), [map, range, appearance.value]);
  const { rows, cols } = map;
  const cellAt = (event: MouseEvent) => {
    const box = canvas.current!.getBoundingClientRect();
    const row = Math.min(rows - 1, Math.floor(((event.clientY - box.top) / box.height) * rows));
    const col = Math.min(cols - 1, Math.floor(((event.clientX - box.left) / box.width) * cols));
    return Math.max(0, row) * cols + Math.max(0, col);
  };
  const onKey = (event: KeyboardEvent) => {
    const move = MOVES[event.key];
    if (event.key === "Enter" || event.key === " ") onOpen(cell ?? 0);
    else if (move !== undefined) onCell(cell === null ? 0 : move(cell, map));
    else return;
    event.preventDefault();
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: a picture with a cursor; no element of HTML is one
    <div
      ref={face}
      class="heat-face"
      role="group"
      aria-label={`${words.value.precision.map}: ${power(range[0])} – ${power(range[1])}`}
      aria-describedby="heat-cell"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: arrow keys move the cursor
      tabIndex={0}
      data-testid="heat"
      onPointerMove={(event) => onCell(cellAt(event))}
      onPointerLeave={() => onCell(null)}
      onClick={(event) => onOpen(cellAt(event))}
      onFocus={() => onCell((before) => before ?? 0)}
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
  );
}

/** Which scales the colours stand for. */
function Ramp({ range: [least, most] }: { readonly range: Range }): JSX.Element {
  if (least === most) return <p class="help">{heatWords.value.uniform(power(least))}</p>;
  return (
    <p class="help ramp-line">
      <span>{power(least)}</span>
      <i class="ramp" aria-hidden="true" />
      <span>{power(most)}</span>
    </p>
  );
}

function wordsOf(map: ScaleMap, cell: number): string {
  const { blockRow, blockCol } = placeOf(map, cell);
  return heatWords.value.cell(blockRow, blockCol, power(map.exponents[cell]!));
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

function rangeOf(exponents: Int16Array): Range {
  let [least, most] = [Infinity, -Infinity];
  for (const exponent of exponents) {
    if (exponent < least) least = exponent;
    if (exponent > most) most = exponent;
  }
  return [least, most];
}

function draw(canvas: HTMLCanvasElement, map: ScaleMap, [least, most]: Range): void {
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
