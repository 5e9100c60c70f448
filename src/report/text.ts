const ESCAPES: { readonly [c: string]: string } = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Longest name that is shown whole: what files call their tensors may be megabytes. */
const LONGEST = 200;

/** Text of strangers without what turns the order of letters or has no shape, and of bounded length. */
export function plain(unsafe: string): string {
  const cut = unsafe.length > LONGEST ? `${unsafe.slice(0, LONGEST)}…` : unsafe;
  return cut.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, "\ufffd");
}

/** Text of strangers inside of an element or a quoted attribute. */
export function html(unsafe: string): string {
  return plain(unsafe).replace(/[&<>"']/g, (c) => ESCAPES[c]!);
}

/** A record inside of a script element, which only `<` could end. */
export function json(record: unknown): string {
  return JSON.stringify(record).replaceAll("<", "\\u003c");
}
