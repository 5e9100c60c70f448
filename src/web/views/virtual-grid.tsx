import type { ComponentChildren, JSX, RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { isNarrow } from "../state/settings.ts";

/** Height of a row in pixels: it grows with the letters, and holds two lines where the page is narrow. */
function rowHeight(): number {
  const letter = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
  return Math.round((isNarrow.value ? 4.25 : 2.7) * letter);
}

/** Rows drawn beyond the visible ones. */
const OVERSCAN = 6;

/** What a key does to the row that is marked. */
export type Keys = { readonly [key: string]: (active: number, moveTo: (index: number) => void) => void };

/** Where a row stands. */
export interface RowPlace {
  readonly index: number;
  readonly isActive: boolean;
  readonly top: number;
  onPress(): void;
}

interface VirtualGridProps {
  readonly role: "grid" | "treegrid";
  readonly class: string;
  /** Id of the heading that names it. */
  readonly labelledBy: string;
  readonly count: number;
  readonly heads: ComponentChildren;
  /** Said where there are no rows. */
  readonly empty: string;
  /** Keys in addition to those that move through the rows. */
  readonly keys: Keys;
  /** A {@link GridRow}. */
  row(place: RowPlace): JSX.Element;
}

/** A table of which only the rows in sight are drawn: as smooth with a hundred thousand as with ten. */
export function VirtualGrid(props: VirtualGridProps): JSX.Element {
  const { role, labelledBy, count, heads, empty, keys, row } = props;
  const body = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const height = useHeight(body);
  const [wanted, setActive] = useState(0);
  const active = Math.max(0, Math.min(count - 1, wanted));
  const each = rowHeight();
  const first = Math.max(0, Math.min(Math.floor(top / each), count - 1) - OVERSCAN);
  const last = Math.min(count, Math.ceil((top + height) / each) + OVERSCAN);
  const moveTo = (index: number) => {
    const next = Math.max(0, Math.min(count - 1, index));
    setActive(next);
    scrollTo(body.current!, next * each, (next + 1) * each);
  };
  const all: Keys = {
    ArrowDown: () => moveTo(active + 1),
    ArrowUp: () => moveTo(active - 1),
    PageDown: () => moveTo(active + Math.floor(height / each)),
    PageUp: () => moveTo(active - Math.floor(height / each)),
    Home: () => moveTo(0),
    End: () => moveTo(count - 1),
    ...keys,
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the role is one of two that are made for it
    // biome-ignore lint/a11y/useAriaPropsSupportedByRole: see above
    <div
      class={props.class}
      role={role}
      ref={body}
      tabIndex={0}
      style={{ "--row": `${each}px` }}
      aria-rowcount={count + 1}
      aria-activedescendant={count > 0 ? `row-${active}` : undefined}
      aria-labelledby={labelledBy}
      data-testid="rows"
      onScroll={(event) => setTop(event.currentTarget.scrollTop)}
      onKeyDown={(event) => {
        const act = event.target === event.currentTarget ? all[event.key] : undefined;
        if (act === undefined) return;
        event.preventDefault();
        act(active, moveTo);
      }}
    >
      {/* biome-ignore lint/a11y/useSemanticElements: a table cannot leave out rows */}
      <div class="grid-row grid-head" role="row" aria-rowindex={1} tabIndex={-1}>
        {heads}
      </div>
      {/* biome-ignore lint/a11y/useSemanticElements: see above */}
      <div class="grid-space" role="rowgroup" style={{ height: `${count * each}px` }}>
        {Array.from({ length: Math.max(0, last - first) }, (_, i) => {
          const index = first + i;
          return row({
            index,
            isActive: index === active,
            top: index * each,
            onPress: () => setActive(index),
          });
        })}
      </div>
      {count === 0 && <p class="empty">{empty}</p>}
    </div>
  );
}

/** The height of an element, also after it has changed. */
function useHeight(element: RefObject<HTMLElement | null>): number {
  const [height, setHeight] = useState(400);
  useEffect(() => {
    const observed = element.current!;
    const observer = new ResizeObserver(() => setHeight(observed.clientHeight));
    observer.observe(observed);
    return () => observer.disconnect();
  }, []);
  return height;
}

/** Scrolls as little as brings what lies between `top` and `bottom` into sight, below the column heads. */
function scrollTo(body: HTMLElement, top: number, bottom: number): void {
  if (top < body.scrollTop) body.scrollTop = top;
  const room = body.clientHeight - body.firstElementChild!.clientHeight;
  if (bottom > body.scrollTop + room) body.scrollTop = bottom - room;
}

interface GridRowProps {
  readonly place: RowPlace;
  readonly class?: string;
  /** In a tree: how deep it lies, from 1. */
  readonly level?: number;
  /** In a tree, of a row with others below it. */
  readonly isExpanded?: boolean;
  readonly children: ComponentChildren;
  onShow(): void;
}

/** A row, which a click anywhere but on its buttons shows. */
export function GridRow({ place, level, isExpanded, children, onShow, ...more }: GridRowProps): JSX.Element {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a table cannot leave out rows
    // biome-ignore lint/a11y/useKeyWithClickEvents: Enter on the grid does the same
    <div
      id={`row-${place.index}`}
      class={`grid-row${place.isActive ? " active" : ""} ${more.class ?? ""}`}
      role="row"
      aria-rowindex={place.index + 2}
      aria-level={level}
      aria-expanded={isExpanded}
      tabIndex={-1}
      style={{ transform: `translateY(${place.top}px)`, "--level": level }}
      onPointerDown={place.onPress}
      onClick={(event) => {
        if ((event.target as Element).closest("input, button") === null) onShow();
      }}
    >
      {children}
    </div>
  );
}

/** A cell of a column, whose width the style sheet knows. */
export function Cell({
  column,
  title,
  children,
}: {
  readonly column: string;
  readonly title?: string | undefined;
  readonly children: ComponentChildren;
}): JSX.Element {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a table cannot leave out rows
    <div class={`cell ${column}`} role="gridcell" tabIndex={-1} title={title}>
      {children}
    </div>
  );
}
