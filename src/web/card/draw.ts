import { linesWithEscapes } from "../../safetensors/display.ts";
import type { Below, CardContent } from "./content.ts";

/** Width and height of a card, in pixels. */
export interface CardSize {
  readonly width: number;
  readonly height: number;
}

/** The size that services show links with. */
export const CARD: CardSize = { width: 1200, height: 630 };

/** A card whose letters can be read on the screen of a phone: two figures a row. */
export const NARROW_CARD: CardSize = { width: 640, height: 720 };

const FONT = 'system-ui, -apple-system, "Segoe UI", Inter, "PingFang SC", "Noto Sans CJK SC", sans-serif';

/** Places on a card: its figures, some of them in a row, and the picture below them. */
interface Layout {
  readonly margin: number;
  readonly columns: number;
  readonly plot: {
    readonly left: number;
    readonly top: number;
    readonly width: number;
    readonly height: number;
  };
}

/** Pixels from one row of figures to the next. */
const ROW = 100;

function layoutOf({ width }: CardSize, figures: number): Layout {
  const isNarrow = width < CARD.width;
  const margin = isNarrow ? 36 : 64;
  const columns = isNarrow ? 2 : Math.max(3, figures);
  const top = 372 + ROW * (Math.ceil(figures / columns) - 1);
  return { margin, columns, plot: { left: margin, top, width: width - 2 * margin, height: 186 } };
}

type Context = CanvasRenderingContext2D;
type Colour = "page" | "text" | "muted" | "line" | "accent" | "before";

/** Draws a card in the colours of the page. @param size of the canvas from then on */
export function drawCard(
  canvas: HTMLCanvasElement,
  { title, subtitle, figures, below }: CardContent,
  tagline: string,
  { width, height }: CardSize = CARD,
): void {
  canvas.width = width;
  canvas.height = height;
  const { margin, columns, plot } = layoutOf({ width, height }, figures.length);
  const context = canvas.getContext("2d")!;
  const style = getComputedStyle(document.documentElement);
  const colour = (name: Colour) => style.getPropertyValue(`--${name}`).trim();
  context.fillStyle = colour("page");
  context.fillRect(0, 0, width, height);
  const write = writer(context, colour, plot.width);
  drawMark(context, colour("accent"), margin);
  write("blockscale", margin + 46, 92, { size: 26, weight: 650 });
  write(tagline, width - margin, 92, { size: 22, colour: "muted", align: "right", width: plot.width - 220 });
  write(title, margin, 178, { size: 54, weight: 650 });
  write(subtitle, margin, 222, { size: 26, colour: "muted" });
  const step = plot.width / columns;
  figures.forEach(({ label, value }, i) => {
    const [x, y] = [margin + (i % columns) * step, ROW * Math.floor(i / columns)];
    write(label, x, 276 + y, { size: 21, colour: "muted", width: step - 20 });
    write(value, x, 322 + y, { size: 38, weight: 650, width: step - 20 });
  });
  if (below !== undefined) drawBelow(context, below, plot, colour, write);
}

interface Writing {
  readonly size: number;
  readonly weight?: number;
  readonly colour?: Colour;
  readonly align?: CanvasTextAlign;
  readonly width?: number;
}

type Write = (text: string, x: number, y: number, how: Writing) => void;

/** Writes a line of text, smaller where it is too wide, and cut where that would be too small to read. */
function writer(context: Context, colourOf: (name: Colour) => string, most: number): Write {
  return (given, x, y, { size, weight = 400, colour = "text", align = "left", width = most }) => {
    const text = linesWithEscapes(given);
    context.fillStyle = colourOf(colour);
    context.textAlign = align;
    const fits = (fontSize: number, line: string) => {
      context.font = `${weight} ${fontSize}px ${FONT}`;
      return context.measureText(line).width <= width;
    };
    let fontSize = size;
    while (fontSize > 0.6 * size && !fits(fontSize, text)) fontSize -= 1;
    let line = text;
    while (line.length > 1 && !fits(fontSize, line)) line = `${line.slice(0, -2).trimEnd()}…`;
    context.fillText(line, x, y);
  };
}

/** Four blocks with four scales. */
function drawMark(context: Context, accent: string, left: number): void {
  const [size, gap] = [14, 4];
  context.fillStyle = accent;
  for (const [x, y, alpha] of [
    [0, 0, 1],
    [1, 0, 0.5],
    [0, 1, 0.3],
    [1, 1, 0.75],
  ] as const) {
    context.globalAlpha = alpha;
    context.fillRect(left + x * (size + gap), 67 + y * (size + gap), size, size);
  }
  context.globalAlpha = 1;
}

function drawBelow(
  context: Context,
  below: Below,
  plot: Layout["plot"],
  colour: (name: Colour) => string,
  write: Write,
): void {
  if (below.kind === "texts") {
    const width = (plot.width - 40) / below.texts.length;
    below.texts.forEach(({ heading, text }, i) => {
      const x = plot.left + i * (width + 40);
      write(heading, x, plot.top + 16, { size: 22, colour: "muted", width });
      linesOf(context, text, width - 10).forEach((line, j) => {
        write(line, x, plot.top + 54 + 32 * j, { size: 24, width });
      });
    });
  } else if (below.kind === "maps") {
    const width = (plot.width - 48) / below.maps.length;
    context.imageSmoothingEnabled = false;
    below.maps.forEach(({ label, map }, i) => {
      const x = plot.left + i * (width + 24);
      write(label, x, plot.top, { size: 21, colour: "muted", width });
      context.drawImage(map, x, plot.top + 16, width, plot.height - 16);
    });
  } else drawSeries(context, below, plot, colour, write);
}

/** Lines of a text that are no wider than `width`; as many as there is room for. */
function linesOf(context: Context, text: string, width: number): string[] {
  context.font = `400 24px ${FONT}`;
  const lines: string[] = [];
  let line = "";
  // Texts of Chinese have no spaces to break at.
  for (const part of text.split(/(?<=\s)|(?=[\u3400-\u9fff])/)) {
    if (line !== "" && context.measureText(line + part).width > width) {
      lines.push(line);
      line = part.trimStart();
    } else line += part;
  }
  lines.push(line);
  return lines.length <= 5 ? lines : [...lines.slice(0, 4), `${lines[4]!.trimEnd()} …`];
}

function drawSeries(
  context: Context,
  { kind, label, series }: Extract<Below, { kind: "points" | "lines" }>,
  plot: Layout["plot"],
  colour: (name: Colour) => string,
  write: Write,
): void {
  const all = series.flatMap(({ values }) => values.filter(Number.isFinite));
  if (all.length === 0) return;
  const [low, high] = [Math.min(...all), Math.max(...all)];
  // Points are decibels: whole ones, so that a tenth does not fill the picture.
  const [least, most] = kind === "points" ? [Math.floor(low), Math.ceil(high)] : [low, high];
  const [top, bottom] = [plot.top + 22, plot.top + plot.height];
  const span = most - least || 1;
  const left = plot.left + 76;
  const width = plot.left + plot.width - left;
  const yOf = (value: number) => bottom - 8 - ((value - least) / span) * (bottom - top - 16);
  write(label, plot.left, plot.top, { size: 21, colour: "muted" });
  for (const [value, y] of [
    [most, yOf(most)],
    [least, yOf(least)],
  ] as const) {
    context.fillStyle = colour("line");
    context.fillRect(left, y, width, 1.5);
    write(String(Number(value.toPrecision(3))), left - 12, y + 7, {
      size: 20,
      colour: "muted",
      align: "right",
    });
  }
  series.forEach(({ name, values }, i) => {
    const ink: Colour = i === series.length - 1 ? "accent" : "before";
    context.fillStyle = context.strokeStyle = colour(ink);
    const xOf = (j: number) => left + (width * (j + 0.5)) / values.length;
    context.lineWidth = 3;
    context.beginPath();
    values.forEach((value, j) => {
      if (!Number.isFinite(value)) return;
      if (kind === "lines") context.lineTo(xOf(j), yOf(value));
      else {
        context.moveTo(xOf(j), yOf(value));
        context.arc(xOf(j), yOf(value), 5, 0, 2 * Math.PI);
      }
    });
    if (kind === "lines") context.stroke();
    else context.fill();
    if (series.length > 1)
      write(name, plot.left + plot.width - 150 * (series.length - 1 - i), plot.top, {
        size: 21,
        colour: ink === "accent" ? "accent" : "muted",
        align: "right",
      });
  });
}

/** A card as a file. */
export async function cardFile(content: CardContent, tagline: string, name: string): Promise<File> {
  const canvas = document.createElement("canvas");
  drawCard(canvas, content, tagline);
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
  if (blob === null) throw new Error("The browser could not make a picture.");
  return new File([blob], name, { type: "image/png" });
}
