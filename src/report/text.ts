import { withEscapes } from "../safetensors/display.ts";

const ESCAPES: { readonly [c: string]: string } = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Longest text that is shown whole: a damaged file may name a tensor with megabytes of text. */
const LONGEST = 200;

/** Makes untrusted text safe to show: cuts it to a bounded length, and escapes what is not to be seen. */
export function plain(unsafe: string): string {
  const cut = unsafe.length > LONGEST ? `${unsafe.slice(0, LONGEST)}…` : unsafe;
  return withEscapes(cut);
}

/** Untrusted text, escaped for the inside of an element or of a quoted attribute. */
export function html(unsafe: string): string {
  return plain(unsafe).replace(/[&<>"']/g, (c) => ESCAPES[c]!);
}

/** A record as JSON inside a script element. Without `<`, no text in it can end the element. */
export function json(record: unknown): string {
  return JSON.stringify(record).replaceAll("<", "\\u003c");
}
