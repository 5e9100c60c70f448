import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { JSX } from "preact";
import { sqnr } from "../../engine/precision.ts";
import { measured } from "../state/signals.ts";
import { bytes, short, sqnrText, whole } from "../strings/format.ts";
import { words } from "../strings/index.ts";
import { search, shownRows } from "./rows.ts";
import { show, TensorRow, toggle } from "./tensor-row.tsx";
import { type Group, linesOf, treeOf } from "./tree-nodes.ts";
import { Cell, GridRow, type Keys, type RowPlace, VirtualGrid } from "./virtual-grid.tsx";

/**
 * Groups that are not as they are at first. At first, groups are closed; while something is searched for,
 * they are open.
 */
const flipped: Signal<ReadonlySet<string>> = signal(new Set());

/** Key of a group in the present search: to open or close it there changes no other search. */
const keyOf = ({ path }: Group): string => `${search.value.trim()}\n${path}`;

function isOpen(group: Group): boolean {
  const isFound = search.value.trim() !== "";
  return isFound !== flipped.value.has(keyOf(group));
}

function flip(group: Group): void {
  const next = new Set(flipped.value);
  if (!next.delete(keyOf(group))) next.add(keyOf(group));
  flipped.value = next;
}

const nodes = computed(() => treeOf(shownRows.value, measured.value));
const lines: ReadonlySignal<ReturnType<typeof linesOf>> = computed(() => linesOf(nodes.value, isOpen));

/** The group of a line, unless it is a tensor. */
function groupAt(index: number): Group | null {
  const node = lines.value[index]?.node;
  return node === undefined || "row" in node ? null : node;
}

/** Opens or closes a group; does something with a tensor. */
function press(index: number, act: typeof show): void {
  const node = lines.value[index]?.node;
  if (node === undefined || "row" in node) act(node?.row);
  else flip(node);
}

const KEYS: Keys = {
  Enter: (active) => press(active, show),
  " ": (active) => press(active, toggle),
  ArrowRight: (active, moveTo) => {
    const group = groupAt(active);
    if (group === null) return;
    if (isOpen(group)) moveTo(active + 1);
    else flip(group);
  },
  ArrowLeft: (active, moveTo) => {
    const group = groupAt(active);
    const parent = lines.value[active]?.parent ?? -1;
    if (group !== null && isOpen(group)) flip(group);
    else if (parent >= 0) moveTo(parent);
  },
};

/** The tensors by layer: groups of what their names begin with, and what each of them holds. */
export function Tree(): JSX.Element {
  const { table } = words.value;
  const shown = lines.value;
  const hasFigures = measured.value.size > 0;
  const heads = ["name", "shape", "type", "size", ...(hasFigures ? (["sqnr"] as const) : [])] as const;
  return (
    <VirtualGrid
      role="treegrid"
      class={hasFigures ? "grid tree measured" : "grid tree"}
      labelledBy="tensors-heading"
      count={shown.length}
      heads={heads.map((column) => (
        // biome-ignore lint/a11y/useSemanticElements: a table cannot leave out rows
        <div key={column} class={`cell ${column}`} role="columnheader" tabIndex={-1}>
          {table[column]}
        </div>
      ))}
      empty={table.nothing}
      keys={KEYS}
      row={(place) => {
        const { node, level } = shown[place.index]!;
        if ("row" in node)
          return (
            <TensorRow
              key={node.row.tensor.name}
              row={node.row}
              place={place}
              level={level}
              label={node.label}
            />
          );
        return <GroupRow key={`${node.path}.`} group={node} level={level} place={place} />;
      }}
    />
  );
}

interface GroupRowProps {
  readonly group: Group;
  readonly level: number;
  readonly place: RowPlace;
}

function GroupRow({ group, level, place }: GroupRowProps): JSX.Element {
  const { table, open } = words.value;
  const { tensors, parameters, changing, precision } = group;
  const isExpanded = isOpen(group);
  return (
    <GridRow
      place={place}
      class={changing > 0 ? "group changes" : "group"}
      level={level}
      isExpanded={isExpanded}
      onShow={() => flip(group)}
    >
      <Cell column="name" title={group.path}>
        <i class={isExpanded ? "twist open" : "twist"} aria-hidden="true" />
        <bdi>{group.label}</bdi>
      </Cell>
      <Cell column="shape" title={open.parameters(whole(parameters))}>
        {open.parameters(short(parameters))}
      </Cell>
      <Cell column="type">
        {changing > 0 ? (
          <b>{table.groupChanges(whole(changing), whole(tensors))}</b>
        ) : (
          open.tensors(whole(tensors), false)
        )}
      </Cell>
      <Cell column="size">{bytes(group.bytes)}</Cell>
      {measured.value.size > 0 && (
        <Cell column="sqnr">
          {precision.count === 0 ? "" : sqnrText(sqnr(precision), precision.nonFinite)}
        </Cell>
      )}
    </GridRow>
  );
}
