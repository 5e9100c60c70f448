/**
 * A tensor's name as it appears in messages: `tensor "x"`, control characters escaped, long names cut.
 */
export function tensorNamed(name: string): string {
  return `tensor ${JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}...` : name)}`;
}

/** A shape as it appears in messages: `[2, 3]`. */
export function shapeNamed(shape: readonly number[]): string {
  return `[${shape.slice(0, 32).join(", ")}${shape.length > 32 ? ", ..." : ""}]`;
}
