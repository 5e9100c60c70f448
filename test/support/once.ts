/** Computes on first use and keeps the result: what the definitions say is the same for every engine. */
export function once<T>(compute: () => T): () => T {
  let value: { readonly is: T } | undefined;
  return () => {
    value ??= { is: compute() };
    return value.is;
  };
}
