import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Summary } from "../../checkpoint/measure/summary.ts";
import { type CardContent, sentenceOf } from "../card/content.ts";
import { cardOfConversion } from "../card/conversion.ts";
import { CARD, drawCard, NARROW_CARD } from "../card/draw.ts";
import { appearance, isNarrow } from "../state/settings.ts";
import { words } from "../strings/index.ts";

/** The report that the build wrote when it converted the example. */
interface Report extends Pick<Summary, "tensors" | "total"> {
  readonly to: string;
}

/** The result of a conversion, as a picture: that of the example. */
export function WhatYouGet(): JSX.Element | null {
  const [report, setReport] = useState<Report | null>(null);
  useEffect(() => {
    fetch("examples/stories-fp8/report.json")
      .then(async (response) => response.ok && setReport(await response.json()))
      // Without it there is no picture; nothing else is missing.
      .catch(() => {});
  }, []);
  if (report === null) return null;
  const { tensors, total } = report;
  const sum = (part: "before" | "after") => tensors.reduce((n, tensor) => n + tensor[part].bytes, 0);
  const summary = { tensors, total };
  const name = words.value.examples.stories.title;
  return (
    <Picture
      content={cardOfConversion({ name, to: report.to, before: sum("before"), after: sum("after"), summary })}
    />
  );
}

function Picture({ content }: { readonly content: CardContent }): JSX.Element {
  const { card } = words.value;
  const canvas = useRef<HTMLCanvasElement>(null);
  const size = isNarrow.value ? NARROW_CARD : CARD;
  useEffect(() => drawCard(canvas.current!, content, card.tagline, size), [content, appearance.value, size]);
  return (
    <figure class="what-you-get">
      <figcaption>{card.example}</figcaption>
      <canvas ref={canvas} {...size} role="img" aria-label={sentenceOf(content)} data-testid="what-you-get" />
    </figure>
  );
}
