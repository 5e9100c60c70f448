import type { Below, CardContent } from "./content.ts";

/** The size that services show links with. */
export const CARD = { width: 1200, height: 630 } as const;

const MARGIN = 64;
const FONT = 'system-ui, -apple-system, "Segoe UI", Inter, "PingFang SC", "Noto Sans CJK SC", sans-serif';

/** Place of the picture below the figures. */
const PLOT = { left: MARGIN, top: 372, width: CARD.width - 2 * MARGIN, height: 186 } as const;

type Context = CanvasRenderingContext2D;
type Colour = "page" | "text" | "muted" | "line" | "accent" | "before";

/** Draws a card in the colours of the page. */
export function drawCard(canvas: HTMLCanvasElement, content: CardContent, tagline: string): void {
  canvas.width = CARD.width;
  canvas.height = CARD.height;
  const context = canvas.getContext("2d")!;
  const style = getComputedStyle(document.documentElement);
  const colour = (name: Colour) => style.getPropertyValue(`--${name}`).trim();
  context.fillStyle = colour("page");
  context.fillRect(0, 0, CARD.width, CARD.height);
  const write = writer(context, colour);
  drawMark(context, colour("accent"));
  write("blockscale", MARGIN + 46, 92, { size: 26, weight: 650 });
  write(tagline, CARD.width - MARGIN, 92, { size: 22, colour: "muted", align: "right" });
  write(content.title, MARGIN, 178, { size: 54, weight: 650 });
  write(content.subtitle, MARGIN, 222, { size: 26, colour: "muted" });
  const { figures, below } = content;
  const step = PLOT.width / Math.max(3, figures.length);
  figures.forEach(({ label, value }, i) => {
    const width = step - 20;
    write(label, MARGIN + i * step, 276, { size: 21, colour: "muted", width });
    write(value, MARGIN + i * step, 322, { size: 38, weight: 650, width });
  });
  if (below !== undefined) drawBelow(context, below, colour, write);
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
function writer(context: Context, colourOf: (name: Colour) => string): Write {
  return (text, x, y, { size, weight = 400, colour = "text", align = "left", width = PLOT.width }) => {
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
function drawMark(context: Context, accent: string): void {
  const [size, gap] = [14, 4];
  context.fillStyle = accent;
  for (const [x, y, alpha] of [
    [0, 0, 1],
    [1, 0, 0.5],
    [0, 1, 0.3],
    [1, 1, 0.75],
  ] as const) {
    context.globalAlpha = alpha;
    context.fillRect(MARGIN + x * (size + gap), 67 + y * (size + gap), size, size);
  }
  context.globalAlpha = 1;
}

function drawBelow(context: Context, below: Below, colour: (name: Colour) => string, write: Write): void {
  if (below.kind === "texts") {
    const width = (PLOT.width - 40) / below.texts.length;
    below.texts.forEach(({ heading, text }, i) => {
      const x = PLOT.left + i * (width + 40);
      write(heading, x, PLOT.top + 16, { size: 22, colour: "muted", width });
      linesOf(context, text, width - 10).forEach((line, j) => {
        write(line, x, PLOT.top + 54 + 32 * j, { size: 24, width });
      });
    });
  } else if (below.kind === "maps") {
    const width = (PLOT.width - 48) / below.maps.length;
    context.imageSmoothingEnabled = false;
    below.maps.forEach(({ label, map }, i) => {
      const x = PLOT.left + i * (width + 24);
      write(label, x, PLOT.top, { size: 21, colour: "muted", width });
      context.drawImage(map, x, PLOT.top + 16, width, PLOT.height - 16);
    });
  } else drawSeries(context, below, colour, write);
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
  colour: (name: Colour) => string,
  write: Write,
): void {
  const all = series.flatMap(({ values }) => values.filter(Number.isFinite));
  if (all.length === 0) return;
  const [least, most] = [Math.min(...all), Math.max(...all)];
  const [top, bottom] = [PLOT.top + 22, PLOT.top + PLOT.height];
  const span = most - least || 1;
  const left = PLOT.left + 76;
  const width = PLOT.left + PLOT.width - left;
  const yOf = (value: number) => bottom - 8 - ((value - least) / span) * (bottom - top - 16);
  write(label, PLOT.left, PLOT.top, { size: 21, colour: "muted" });
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
      write(name, PLOT.left + PLOT.width - 150 * (series.length - 1 - i), PLOT.top, {
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
