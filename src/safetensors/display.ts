/**
 * Text from a file, safe to show: characters that move a cursor, turn the direction of a line or cannot be
 * seen are escapes, such as `\u202e`.
 */
export function withEscapes(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, escaped);
}

/** As {@link withEscapes}, for text in any language: line ends stay, and what joins or parts letters. */
export function linesWithEscapes(text: string): string {
  return text.replace(/(?![\n\t\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, escaped);
}

function escaped(unsafe: string): string {
  return Array.from(
    { length: unsafe.length },
    (_, i) => `\\u${unsafe.charCodeAt(i).toString(16).padStart(4, "0")}`,
  ).join("");
}

/** A tensor's name as it appears in messages: `tensor "x"`, made {@link withEscapes}, long names cut. */
export function quotedTensor(name: string): string {
  return `tensor ${withEscapes(JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}...` : name))}`;
}

/** A shape as it appears in messages: `[2, 3]`. */
export function shapeNamed(shape: readonly number[]): string {
  return `[${shape.slice(0, 32).join(", ")}${shape.length > 32 ? ", ..." : ""}]`;
}
