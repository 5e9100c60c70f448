import type { PrecisionSummary } from "../checkpoint/measure/summary.ts";
import { linesWithEscapes, withEscapes } from "../safetensors/display.ts";

/** Bytes in decimal units, as disks and model hubs count: 12.3 MB. */
export function bytes(n: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let i = 0;
  let value = n;
  while (value >= 999.5 && i < units.length - 1) {
    value /= 1000;
    i++;
  }
  return `${i === 0 ? value : value.toPrecision(3)} ${units[i]}`;
}

// Made once: toLocaleString looks the language up again for every number of a table.
const GROUPS = new Intl.NumberFormat("en-US");

/** A whole number with its thousands in groups: 1,234,567. */
export function count(n: number): string {
  return GROUPS.format(n);
}

/** A number of values in words: "1 value", "2,000 values". */
export function values(n: number): string {
  return n === 1 ? "1 value" : `${count(n)} values`;
}

/** A share in percent: 6.25 %. */
export function percent(share: number): string {
  return `${(100 * share).toPrecision(3)} %`;
}

/**
 * Decibels, or a word instead of them: that nothing was lost, or how many values are no numbers any more.
 */
export function decibels({ sqnrDb, nonFinite }: PrecisionSummary): string {
  if (nonFinite > 0) return `${count(nonFinite)} not finite`;
  if (sqnrDb === null) return "exact";
  // Zeros became something else.
  return sqnrDb === -Infinity ? "-inf" : sqnrDb.toFixed(2);
}

/** A shape: 576 x 7168. Of absurdly many dimensions, the first. */
export function shape(sizes: readonly number[]): string {
  const first = sizes.slice(0, 32).join(" x ");
  return sizes.length === 0 ? "scalar" : sizes.length > 32 ? `${first} x ...` : first;
}

/** Text from a file, safe to show on a terminal. */
export const text: (unsafe: string) => string = withEscapes;

/** Text of several lines, safe to show on a terminal. */
export const lines: (unsafe: string) => string = linesWithEscapes;

/** Text of at most so many characters, and dots for the rest. */
export function cut(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most)}...` : text;
}

/** A name from a file in a table, whose rows are all as wide as the widest. */
export function cell(unsafe: string): string {
  return text(cut(unsafe, 200)).replaceAll("|", "\ufffd");
}

/** "50 s", "12 min", "3 h 20 min": rounded up, for what is left of a long run. */
export function duration(seconds: number): string {
  if (seconds <= 119) return `${Math.ceil(seconds)} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
