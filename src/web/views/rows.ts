import { computed, effect, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { type Matcher, matcher } from "../../checkpoint/dialects/rules.ts";
import type { InspectedTensor } from "../../checkpoint/measure/inspect.ts";
import type { PlannedTensor } from "../../checkpoint/plan/plan.ts";
import { countOf } from "../../checkpoint/read/weights.ts";
import { sqnr } from "../../engine/precision.ts";
import { measured, opened, patternFault, planned } from "../state/signals.ts";

/** A tensor as the table shows it. */
export interface Row {
  readonly tensor: InspectedTensor;
  readonly plan: PlannedTensor | null;
  /** Its place in the order of names. */
  readonly nameOrder: number;
}

export type Column = "name" | "shape" | "type" | "size" | "sqnr";

export interface SortOrder {
  readonly column: Column | null;
  readonly isDescending: boolean;
}

export const search: Signal<string> = signal("");

// What was looked for in one checkpoint may not be in the next.
effect(() => {
  if (opened.value === null) search.value = "";
});

export const onlyChanging: Signal<boolean> = signal(false);
/** Shown as a tree by the parts of their names. */
export const byLayer: Signal<boolean> = signal(false);
/** Order of the list. Without a column, that of the file. */
export const order: Signal<SortOrder> = signal({ column: null, isDescending: false });

/**
 * Tensors and their plans have the same order. Names are compared, since a plan may still be of other files.
 */
const rows: ReadonlySignal<readonly Row[]> = computed(() => {
  const tensors = opened.value?.inspection.tensors ?? [];
  const plans = planned.value?.tensors ?? [];
  const nameOrders = opened.value?.nameOrders ?? [];
  return tensors.map(
    (tensor, i): Row => ({
      tensor,
      plan: plans[i]?.name === tensor.name ? plans[i] : null,
      nameOrder: nameOrders[i]!,
    }),
  );
});

/** Tensors that a warning names. */
export const odd: ReadonlySignal<ReadonlySet<string>> = computed(() => {
  const text = opened.value?.inspection.warnings.join("\n") ?? "";
  return new Set(Array.from(text.matchAll(/\btensor ("(?:[^"\\]|\\.)*")/g), ([, name]) => JSON.parse(name!)));
});

/** What rows are ordered by, as a number. */
function keyOf(column: Exclude<Column, "name">): (row: Row) => number {
  switch (column) {
    case "shape":
      return ({ tensor }) => countOf(tensor.shape);
    case "type": {
      const dtypes = Object.keys(opened.value!.inspection.bytesByDtype).sort();
      return ({ tensor }) => dtypes.indexOf(tensor.dtype);
    }
    case "size":
      return ({ tensor }) => tensor.bytes;
    case "sqnr": {
      const figures = measured.value;
      return ({ tensor }) => {
        const precision = figures.get(tensor.name);
        return precision === undefined ? Infinity : sqnr(precision);
      };
    }
  }
}

export const total: ReadonlySignal<number> = computed(() => rows.value.length);

/** Order of a tree: layer 2 comes before layer 10. */
const BY_NAME: SortOrder = { column: "name", isDescending: false };

/** The rows of the table: those that were searched for, in the chosen order. */
export const shownRows: ReadonlySignal<readonly Row[]> = computed(() => {
  const fits = finder(search.value);
  const found = rows.value.filter(({ tensor, plan }) => {
    if (onlyChanging.value && (plan === null || plan.action === "copy")) return false;
    return fits(tensor.name);
  });
  const { column, isDescending } = byLayer.value ? BY_NAME : order.value;
  if (column === null) return found;
  if (column === "name") return byName(found, isDescending);
  const key = keyOf(column);
  const sign = isDescending ? -1 : 1;
  return found
    .map((row) => ({ row, key: sign * key(row) }))
    .sort((a, b) => a.key - b.key)
    .map(({ row }) => row);
});

/** Ranks are places already: nothing is left to be sorted. */
function byName(found: readonly Row[], isDescending: boolean): Row[] {
  const places = new Array<Row | undefined>(rows.value.length);
  for (const row of found) places[row.nameOrder] = row;
  const ordered = places.filter((row) => row !== undefined);
  return isDescending ? ordered.reverse() : ordered;
}

/**
 * The test of a search. A text with a star, or that begins with re:, is a pattern as for selecting tensors.
 * Of other texts, all words must be in the name. A pattern that is not complete yet fits every name.
 */
function finder(text: string): Matcher {
  const typed = text.trim();
  if (typed.startsWith("re:") || typed.includes("*"))
    return patternFault(typed) === null ? matcher(typed) : () => true;
  if (typed === "") return () => true;
  const wanted = typed.toLowerCase().split(/\s+/);
  return (name) => {
    const lower = name.toLowerCase();
    return wanted.every((word) => lower.includes(word));
  };
}

/** Whether the output holds the tensor in another format. */
export function changes({ plan }: Row): boolean {
  return plan !== null && plan.action !== "copy" && plan.action !== "drop";
}

/** Bytes of a tensor in the output; before there is a plan, and of one that is left out, as it is stored. */
export function bytesOf(row: Row): number {
  return changes(row) ? row.plan!.after.bytes : row.tensor.bytes;
}

/** Whether a click can change what happens to a tensor. */
export function canToggle({ tensor, plan }: Row, action: "quantize" | "dequantize"): boolean {
  if (plan === null) return false;
  if (plan.action !== "copy") return true;
  if (action === "dequantize") return tensor.scaled !== null;
  return tensor.shape.length >= 2 && (tensor.scaled !== null || /^(BF16|F16|F32)$/.test(tensor.dtype));
}
