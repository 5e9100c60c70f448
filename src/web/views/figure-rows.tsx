import type { ComponentChildren, JSX } from "preact";

/** A figure: its name for scripts, its label, and what it is. */
export type NamedFigure = readonly [name: string, label: string, value: ComponentChildren];

/** Figures as terms of a `dl`. */
export function FigureRows({ rows }: { readonly rows: readonly NamedFigure[] }): JSX.Element {
  return (
    <>
      {rows.map(([name, label, value]) => (
        <div key={name}>
          <dt>{label}</dt>
          <dd data-figure={name}>{value}</dd>
        </div>
      ))}
    </>
  );
}
