/** The layers that weights belong to, in their order. */
export interface Layers {
  readonly labels: readonly string[];
  /** Index of the layer of each name, in the order of the names. */
  readonly of: readonly number[];
}

interface LayerPosition {
  /** What stands before the number of the layer; `null` for weights outside of layers. */
  readonly stack: string | null;
  readonly number: number;
}

/**
 * Groups weights by the first number in their names: `model.layers.12.mlp.experts.3.up_proj.weight` is of
 * layer 12. Weights without a number form one group at the end.
 * @param outside label of weights outside of layers
 */
export function layersOf(names: readonly string[], outside: string): Layers {
  const positions = names.map(layerOf);
  const stacks = [...new Set(positions.map(({ stack }) => stack))].filter((stack) => stack !== null);
  const orderOfStack = new Map(stacks.map((stack, i) => [stack, i]));
  const label = ({ stack, number }: LayerPosition) =>
    stack === null ? outside : stacks.length === 1 ? `${number}` : `${stack}.${number}`;
  const byLabel = new Map(positions.map((position) => [label(position), position]));
  const ordered = [...byLabel].sort(([, a], [, b]) => {
    const [first, second] = [a, b].map(({ stack }) =>
      stack === null ? Infinity : orderOfStack.get(stack)!,
    ) as [number, number];
    return first === second ? a.number - b.number : first < second ? -1 : 1;
  });
  const index = new Map(ordered.map(([name], i) => [name, i]));
  return {
    labels: ordered.map(([name]) => name),
    of: positions.map((position) => index.get(label(position))!),
  };
}

function layerOf(name: string): LayerPosition {
  const parts = name.split(".");
  const at = parts.findIndex((part) => /^\d{1,9}$/.test(part));
  if (at < 0) return { stack: null, number: 0 };
  return { stack: parts.slice(0, at).join("."), number: Number(parts[at]) };
}
