import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { ScaleMap } from "../../checkpoint/measure/sample.ts";
import { isDark } from "../session/settings.ts";
import { power, whole } from "../strings/format.ts";
import { words } from "../strings/index.ts";
import { Figure } from "./distributions.tsx";

type Rgb = readonly [number, number, number];

/** Colours from hardly visible to the accent at its strongest. */
const RAMPS: { readonly light: readonly [Rgb, Rgb]; readonly dark: readonly [Rgb, Rgb] } = {
  light: [
    [238, 243, 240],
    [6, 78, 59],
  ],
  dark: [
    [34, 40, 38],
    [126, 231, 190],
  ],
};

/** Block scales as a picture: one cell a block, or the largest of several where there are too many. */
export function HeatMap({ map }: { readonly map: ScaleMap }): JSX.Element {
  const { precision: text } = words.value;
  const canvas = useRef<HTMLCanvasElement>(null);
  const [pointed, setPointed] = useState<string | null>(null);
  const [least, most] = useMemo(() => rangeOf(map.exponents), [map]);
  const ramp = RAMPS[isDark.value ? "dark" : "light"];
  useEffect(() => draw(canvas.current!, map, least, most, ramp), [map, least, most, ramp]);
  const point = (event: PointerEvent) => {
    const box = canvas.current!.getBoundingClientRect();
    const row = Math.min(map.rows - 1, Math.floor(((event.clientY - box.top) / box.height) * map.rows));
    const col = Math.min(map.cols - 1, Math.floor(((event.clientX - box.left) / box.width) * map.cols));
    setPointed(text.mapCell(row, col, power(map.exponents[row * map.cols + col]!)));
  };
  const isShrunk = map.rows * map.cols < map.scales;
  return (
    <Figure title={text.map} note={text.mapNote(map.block[0], map.block[1])} keys={false}>
      <canvas
        ref={canvas}
        class="heat"
        width={map.cols}
        height={map.rows}
        role="img"
        aria-label={`${text.map}: ${power(least)} – ${power(most)}`}
        style={{ aspectRatio: `${Math.max(0.8, Math.min(4, map.cols / map.rows))}` }}
        onPointerMove={point}
        onPointerLeave={() => setPointed(null)}
      />
      <p class="help ramp-line">
        <span>{power(least)}</span>
        <i class="ramp" aria-hidden="true" />
        <span>{power(most)}</span>
        <span class="pointed">{pointed ?? (isShrunk ? text.mapShrunk(whole(map.scales)) : "")}</span>
      </p>
    </Figure>
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

function draw(
  canvas: HTMLCanvasElement,
  map: ScaleMap,
  least: number,
  most: number,
  [from, to]: readonly [Rgb, Rgb],
): void {
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(map.cols, map.rows);
  const span = Math.max(1, most - least);
  map.exponents.forEach((exponent, i) => {
    const part = (exponent - least) / span;
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = from[c]! + (to[c]! - from[c]!) * part;
    image.data[4 * i + 3] = 255;
  });
  context.putImageData(image, 0, 0);
}
