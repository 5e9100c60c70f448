/** The colours of the page, as a canvas needs them: `rgb(…)`. */
export interface Colours {
  readonly text: string;
  readonly line: string;
  readonly accent: string;
  readonly accentFaint: string;
  readonly muted: string;
  readonly mutedFaint: string;
  readonly rampFrom: string;
  readonly rampTo: string;
}

/**
 * Colours of the style sheet at an element, as `rgb(…)`. Where the user has forced colours, the style sheet
 * names system colours: these are resolved too.
 */
export function coloursOf(element: Element): Colours {
  const probe = document.createElement("i");
  probe.style.forcedColorAdjust = "none";
  element.parentElement!.append(probe);
  const colour = (name: string) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const found: Colours = {
    text: colour("muted"),
    line: colour("line"),
    accent: colour("accent"),
    accentFaint: colour("accent-faint"),
    muted: colour("before"),
    mutedFaint: colour("before-faint"),
    rampFrom: colour("ramp-from"),
    rampTo: colour("ramp-to"),
  };
  probe.remove();
  return found;
}

export type Rgb = readonly [number, number, number];

/** Red, green and blue of an opaque computed colour, 0 to 255 each. */
export function rgbOf(colour: string): Rgb {
  return colour
    .match(/[\d.]+/g)!
    .slice(0, 3)
    .map(Number) as unknown as Rgb;
}
