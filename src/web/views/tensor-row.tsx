import type { JSX } from "preact";
import { sqnr } from "../../engine/precision.ts";
import { form, measured, selected, stage } from "../state/signals.ts";
import { bytes, shapeOf, sqnrText } from "../strings/format.ts";
import { translated, words } from "../strings/index.ts";
import { Icon } from "./icons.tsx";
import { bytesOf, canToggle, changes, odd, type Row } from "./rows.ts";
import { Cell, GridRow, type RowPlace } from "./virtual-grid.tsx";

export function show(row: Row | undefined): void {
  if (row !== undefined) selected.value = row.tensor.name;
}

/** Converts a tensor that would be kept, keeps one that would be converted. */
export function toggle(row: Row | undefined): void {
  if (row === undefined || stage.value !== "ready" || !canToggle(row, form.value.action)) return;
  const single = new Map(form.value.single);
  const { name } = row.tensor;
  if (single.has(name)) single.delete(name);
  else single.set(name, row.plan!.action === "copy");
  form.value = { ...form.value, single };
}

interface TensorRowProps {
  readonly row: Row;
  readonly place: RowPlace;
  /** In a tree: how deep it lies, and what remains of its name there. */
  readonly level?: number;
  readonly label?: string;
}

/** A tensor in the table: its name, shape, type and size, what becomes of it, and whether it is converted. */
export function TensorRow({ row, place, level, label }: TensorRowProps): JSX.Element {
  const { table } = words.value;
  const { tensor, plan } = row;
  const precision = measured.value.get(tensor.name);
  const isChanging = changes(row);
  const isFixed = stage.value !== "ready" || !canToggle(row, form.value.action);
  const becomes = plan?.action === "drop" ? table.dropped : isChanging ? plan!.after.dtype : table.kept;
  const reason = plan?.reason == null ? undefined : translated(plan.reason);
  return (
    <GridRow
      place={place}
      class={isChanging ? "changes" : ""}
      {...(level === undefined ? {} : { level })}
      onShow={() => show(row)}
    >
      <Cell column="name">
        <input
          type="checkbox"
          tabIndex={-1}
          aria-label={table.convert(tensor.name)}
          checked={isChanging}
          disabled={isFixed}
          title={reason}
          onChange={() => toggle(row)}
        />
        <button type="button" class="link" tabIndex={-1} title={tensor.name} onClick={() => show(row)}>
          {/* Cut at the start: names of one layer differ at their end. */}
          <bdi>{label ?? tensor.name}</bdi>
        </button>
        {odd.value.has(tensor.name) && (
          <span class="odd" role="img" aria-label={table.odd} title={table.odd}>
            <Icon name="alert" />
          </span>
        )}
      </Cell>
      <Cell column="shape">{shapeOf(tensor.shape)}</Cell>
      <Cell column="type" title={reason}>
        {tensor.dtype}
        {isChanging ? <b> → {becomes}</b> : <span class="faint"> {becomes}</span>}
      </Cell>
      <Cell column="size">{bytes(bytesOf(row))}</Cell>
      {measured.value.size > 0 && (
        <Cell column="sqnr">
          {precision === undefined ? "" : sqnrText(sqnr(precision), precision.nonFinite)}
        </Cell>
      )}
    </GridRow>
  );
}
