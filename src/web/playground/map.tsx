import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { isDark } from "../state/settings.ts";
import { COLS, ROWS } from "./state.ts";

export type Rgb = readonly [number, number, number];

/** Colours from a number in -1..1: one hue for each sign, and the colour of the page for 0. */
export interface Palette {
  readonly none: Rgb;
  readonly plus: Rgb;
  readonly minus: Rgb;
  readonly saturated: Rgb;
  readonly flushed: Rgb;
}

const LIGHT: Palette = {
  none: [246, 245, 242],
  plus: [6, 96, 72],
  minus: [92, 62, 150],
  saturated: [196, 48, 36],
  flushed: [230, 160, 30],
};
const DARK: Palette = {
  none: [35, 34, 32],
  plus: [120, 232, 190],
  minus: [186, 160, 250],
  saturated: [255, 122, 108],
  flushed: [240, 190, 80],
};

export function mix({ none, plus, minus }: Palette, part: number): Rgb {
  const end = part < 0 ? minus : plus;
  const share = Math.min(1, Math.abs(part));
  return [0, 1, 2].map((c) => none[c]! + (end[c]! - none[c]!) * share) as unknown as Rgb;
}

interface MapProps {
  readonly title: string;
  readonly note: string;
  readonly testid: string;
  /** The colour of a cell. Made anew when what it shows changes. */
  readonly colour: (cell: number, palette: Palette) => Rgb;
  /** The cell that is pointed at, and its block: [row, col, rows, cols]. */
  readonly cell: number;
  readonly block: readonly [number, number, number, number];
  readonly describedBy: string;
  onPoint(cell: number, isPainting: boolean): void;
  onKey(event: KeyboardEvent): void;
}

const part = (n: number, of: number): string => `${(100 * n) / of}%`;

/** A matrix as a picture whose cells can be pointed at, by pointer and by arrow keys. */
export function MatrixMap(props: MapProps): JSX.Element {
  const { title, note, testid, colour, cell, block, describedBy, onPoint, onKey } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const palette = isDark.value ? DARK : LIGHT;
  useEffect(() => {
    const context = canvas.current!.getContext("2d")!;
    const image = context.createImageData(COLS, ROWS);
    for (let i = 0; i < ROWS * COLS; i++) image.data.set([...colour(i, palette), 255], 4 * i);
    context.putImageData(image, 0, 0);
  }, [colour, palette]);
  const point = (event: PointerEvent) => {
    const box = canvas.current!.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * ROWS);
    const col = Math.floor(((event.clientX - box.left) / box.width) * COLS);
    if (row >= 0 && row < ROWS && col >= 0 && col < COLS) onPoint(row * COLS + col, event.buttons === 1);
  };
  return (
    <figure class="matrix">
      <figcaption>
        <h2>{title}</h2>
        <p class="help">{note}</p>
      </figcaption>
      {/* biome-ignore lint/a11y/useSemanticElements: a picture with a cursor; no element of HTML is one */}
      <div
        class="matrix-face"
        role="group"
        aria-label={title}
        aria-describedby={describedBy}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: arrow keys move the cursor
        tabIndex={0}
        data-testid={testid}
        onPointerDown={point}
        onPointerMove={point}
        onKeyDown={onKey}
      >
        <canvas ref={canvas} width={COLS} height={ROWS} />
        <span
          class="matrix-block"
          style={{
            top: part(block[0], ROWS),
            left: part(block[1], COLS),
            height: part(block[2], ROWS),
            width: part(block[3], COLS),
          }}
        />
        <span
          class="matrix-cell"
          style={{
            top: part(Math.floor(cell / COLS), ROWS),
            left: part(cell % COLS, COLS),
            height: part(1, ROWS),
            width: part(1, COLS),
          }}
        />
      </div>
    </figure>
  );
}
