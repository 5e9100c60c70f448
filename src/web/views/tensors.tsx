import type { Signal } from "@preact/signals";
import type { JSX } from "preact";
import { measured } from "../state/signals.ts";
import { whole } from "../strings/format.ts";
import { words } from "../strings/index.ts";
import { Icon } from "./icons.tsx";
import { lazy } from "./lazy.tsx";
import { byLayer, type Column, onlyChanging, order, search, shownRows, total } from "./rows.ts";
import { show, TensorRow, toggle } from "./tensor-row.tsx";
import { VirtualGrid } from "./virtual-grid.tsx";

const Tree = lazy(async () => (await import("./tree.tsx")).Tree);

/** Every tensor of the checkpoint: in a list or by layer, searchable and sortable. */
export function Tensors(): JSX.Element {
  const { table } = words.value;
  return (
    <section class="tensors" aria-labelledby="tensors-heading">
      <div class="table-tools">
        <h2 id="tensors-heading">
          {table.heading}
          <span class="count" aria-live="polite">
            {table.shown(whole(shownRows.value.length), whole(total.value))}
          </span>
        </h2>
        <Switch label={table.byLayer} on={byLayer} />
        <Switch label={table.onlyChanging} on={onlyChanging} />
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
      {byLayer.value ? <Tree /> : <List />}
      <p class="help keys">{byLayer.value ? table.treeHint : table.hint}</p>
    </section>
  );
}

function Switch({ label, on }: { readonly label: string; readonly on: Signal<boolean> }): JSX.Element {
  return (
    <label class="check">
      <input
        type="checkbox"
        checked={on.value}
        onChange={(event) => {
          on.value = event.currentTarget.checked;
        }}
      />
      {label}
    </label>
  );
}

const COLUMNS: readonly Column[] = ["name", "shape", "type", "size", "sqnr"];

/** Every tensor in a row, in the order of the file or of a column. */
function List(): JSX.Element {
  const rows = shownRows.value;
  const hasFigures = measured.value.size > 0;
  return (
    <VirtualGrid
      role="grid"
      class={hasFigures ? "grid measured" : "grid"}
      labelledBy="tensors-heading"
      count={rows.length}
      heads={(hasFigures ? COLUMNS : COLUMNS.slice(0, -1)).map((column) => (
        <ColumnHead key={column} column={column} />
      ))}
      empty={total.value === 0 ? words.value.table.none : words.value.table.nothing}
      keys={{
        Enter: (active) => show(rows[active]),
        " ": (active) => toggle(rows[active]),
      }}
      row={(place) => {
        const row = rows[place.index]!;
        return <TensorRow key={row.tensor.name} row={row} place={place} />;
      }}
    />
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
