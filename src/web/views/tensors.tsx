import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { sqnr } from "../../engine/precision.ts";
import { form, measured, selected, stage } from "../session/model.ts";
import { bytes, shapeOf, sqnrText, whole } from "../strings/format.ts";
import { translated, words } from "../strings/index.ts";
import { Icon } from "./icons.tsx";
import { type Column, canToggle, onlyChanging, order, type Row, search, total, visible } from "./rows.ts";

/** Every tensor of the checkpoint: searchable, sortable, and as smooth with a hundred thousand as with ten. */
export function Tensors(): JSX.Element {
  const { table } = words.value;
  return (
    <section class="tensors" aria-labelledby="tensors-heading">
      <div class="table-tools">
        <h2 id="tensors-heading">
          {table.heading}
          <span class="count" aria-live="polite">
            {table.shown(whole(visible.value.length), whole(total.value))}
          </span>
        </h2>
        <label class="check">
          <input
            type="checkbox"
            checked={onlyChanging.value}
            onChange={(event) => {
              onlyChanging.value = event.currentTarget.checked;
            }}
          />
          {table.onlyChanging}
        </label>
        <div class="search">
          <Icon name="search" />
          <input
            type="search"
            aria-label={table.search}
            placeholder={table.search}
            value={search.value}
            spellcheck={false}
            onInput={(event) => {
              search.value = event.currentTarget.value;
            }}
          />
        </div>
      </div>
      <Grid />
      <p class="help keys">{table.hint}</p>
    </section>
  );
}

/** Height of a row in pixels, as in the style sheet: one line, or two where the page is narrow. */
const NARROW = matchMedia("(max-width: 640px)");
const rowHeight = (): number => (NARROW.matches ? 64 : 40);

/** Height of the column heads, which stay in sight. */
const HEAD = 40;

/** Rows drawn beyond the visible ones. */
const OVERSCAN = 6;

const COLUMNS: readonly Column[] = ["name", "shape", "type", "size", "sqnr"];

function Grid(): JSX.Element {
  const { table } = words.value;
  const body = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(400);
  const [active, setActive] = useState(0);
  const rows = visible.value;
  const each = rowHeight();
  const first = Math.max(0, Math.min(Math.floor(top / each), rows.length - 1) - OVERSCAN);
  const last = Math.min(rows.length, Math.ceil((top + height) / each) + OVERSCAN);
  const columns = measured.value.size > 0 ? COLUMNS : COLUMNS.slice(0, -1);

  useEffect(() => {
    const element = body.current!;
    const observer = new ResizeObserver(() => setHeight(element.clientHeight));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const moveTo = (index: number) => {
    const next = Math.max(0, Math.min(rows.length - 1, index));
    setActive(next);
    const element = body.current!;
    if (next * each < element.scrollTop) element.scrollTop = next * each;
    const room = height - HEAD;
    if ((next + 1) * each > element.scrollTop + room) element.scrollTop = (next + 1) * each - room;
  };
  const keys: { readonly [key: string]: () => void } = {
    ArrowDown: () => moveTo(active + 1),
    ArrowUp: () => moveTo(active - 1),
    PageDown: () => moveTo(active + Math.floor(height / each)),
    PageUp: () => moveTo(active - Math.floor(height / each)),
    Home: () => moveTo(0),
    End: () => moveTo(rows.length - 1),
    Enter: () => show(rows[active]),
    " ": () => toggle(rows[active]),
  };

  return (
    // biome-ignore lint/a11y/useSemanticElements: a table cannot leave out rows
    <div
      class={measured.value.size > 0 ? "grid measured" : "grid"}
      role="grid"
      ref={body}
      tabIndex={0}
      aria-rowcount={rows.length + 1}
      aria-activedescendant={rows.length > 0 ? `row-${active}` : undefined}
      aria-labelledby="tensors-heading"
      data-testid="rows"
      onScroll={(event) => setTop(event.currentTarget.scrollTop)}
      onKeyDown={(event) => {
        const act = event.target === event.currentTarget ? keys[event.key] : undefined;
        if (act === undefined) return;
        event.preventDefault();
        act();
      }}
    >
      {/* biome-ignore lint/a11y/useSemanticElements: see above */}
      <div class="grid-row grid-head" role="row" aria-rowindex={1} tabIndex={-1}>
        {columns.map((column) => (
          <ColumnHead key={column} column={column} />
        ))}
      </div>
      {/* biome-ignore lint/a11y/useSemanticElements: see above */}
      <div class="grid-space" role="rowgroup" style={{ height: `${rows.length * each}px` }}>
        {rows.slice(first, last).map((row, i) => (
          <GridRow
            key={row.tensor.name}
            row={row}
            index={first + i}
            isActive={first + i === active}
            top={(first + i) * each}
            onPress={() => setActive(first + i)}
          />
        ))}
      </div>
      {rows.length === 0 && <p class="empty">{table.nothing}</p>}
    </div>
  );
}

function ColumnHead({ column }: { readonly column: Column }): JSX.Element {
  const { table } = words.value;
  const { column: sorted, isDescending } = order.value;
  const isSorted = sorted === column;
  const next = () => {
    // Up, down, and back to the order of the file.
    order.value = !isSorted
      ? { column, isDescending: false }
      : isDescending
        ? { column: null, isDescending: false }
        : { column, isDescending: true };
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: a table cannot leave out rows
    <div
      class={`cell ${column}`}
      role="columnheader"
      tabIndex={-1}
      aria-sort={isSorted ? (isDescending ? "descending" : "ascending") : "none"}
    >
      <button type="button" title={column === "sqnr" ? table.sqnrHelp : undefined} onClick={next}>
        {table[column]}
        <span class="arrow" aria-hidden="true">
          {isSorted ? (isDescending ? "↓" : "↑") : ""}
        </span>
      </button>
    </div>
  );
}

function show(row: Row | undefined): void {
  if (row !== undefined) selected.value = row.tensor.name;
}

/** Converts a tensor that would be kept, keeps one that would be converted. */
function toggle(row: Row | undefined): void {
  if (row === undefined || stage.value !== "ready" || !canToggle(row, form.value.action)) return;
  const single = new Map(form.value.single);
  const { name } = row.tensor;
  if (single.has(name)) single.delete(name);
  else single.set(name, row.plan!.action === "copy");
  form.value = { ...form.value, single };
}

interface RowProps {
  readonly row: Row;
  readonly index: number;
  readonly isActive: boolean;
  readonly top: number;
  onPress(): void;
}

function GridRow({ row, index, isActive, top, onPress }: RowProps): JSX.Element {
  const { table } = words.value;
  const { tensor, plan } = row;
  const precision = measured.value.get(tensor.name);
  const changes = plan !== null && plan.action !== "copy" && plan.action !== "drop";
  const isFixed = stage.value !== "ready" || !canToggle(row, form.value.action);
  const becomes = plan?.action === "drop" ? table.dropped : changes ? plan.after.dtype : table.kept;
  return (
    // biome-ignore lint/a11y/useSemanticElements: a table cannot leave out rows
    // biome-ignore lint/a11y/useKeyWithClickEvents: Enter on the grid does the same
    <div
      id={`row-${index}`}
      class={`grid-row${isActive ? " active" : ""}${changes ? " changes" : ""}`}
      role="row"
      aria-rowindex={index + 2}
      tabIndex={-1}
      style={{ transform: `translateY(${top}px)` }}
      onPointerDown={onPress}
      onClick={(event) => {
        if ((event.target as Element).closest("input, button") === null) show(row);
      }}
    >
      {/* biome-ignore lint/a11y/useSemanticElements: see above */}
      <div class="cell name" role="gridcell" tabIndex={-1}>
        <input
          type="checkbox"
          tabIndex={-1}
          aria-label={table.convert(tensor.name)}
          checked={changes}
          disabled={isFixed}
          title={plan?.reason == null ? undefined : translated(plan.reason)}
          onChange={() => toggle(row)}
        />
        <button type="button" class="link" tabIndex={-1} title={tensor.name} onClick={() => show(row)}>
          {/* Cut at the start: names of one layer differ at their end. */}
          <bdi>{tensor.name}</bdi>
        </button>
      </div>
      {/* biome-ignore lint/a11y/useSemanticElements: see above */}
      <div class="cell shape" role="gridcell" tabIndex={-1}>
        {shapeOf(tensor.shape)}
      </div>
      {/* biome-ignore lint/a11y/useSemanticElements: see above */}
      <div
        class="cell type"
        role="gridcell"
        tabIndex={-1}
        title={plan?.reason == null ? undefined : translated(plan.reason)}
      >
        {tensor.dtype}
        {changes ? <b> → {becomes}</b> : <span class="faint"> {becomes}</span>}
      </div>
      {/* biome-ignore lint/a11y/useSemanticElements: see above */}
      <div class="cell size" role="gridcell" tabIndex={-1}>
        {bytes(changes ? plan.after.bytes : tensor.bytes)}
      </div>
      {measured.value.size > 0 && (
        // biome-ignore lint/a11y/useSemanticElements: see above
        <div class="cell sqnr" role="gridcell" tabIndex={-1}>
          {precision === undefined ? "" : sqnrText(sqnr(precision), precision.nonFinite)}
        </div>
      )}
    </div>
  );
}
