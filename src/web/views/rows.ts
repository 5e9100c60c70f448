import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { InspectedTensor } from "../../checkpoint/inspect.ts";
import type { PlannedTensor } from "../../checkpoint/plan.ts";
import { type Precision, sqnr } from "../../precision.ts";
import { measured, opened, planned } from "../session/model.ts";

/** A tensor as the table shows it. */
export interface Row {
  readonly tensor: InspectedTensor;
  readonly plan: PlannedTensor | null;
  /** `null` where nothing was measured. */
  readonly precision: Precision | null;
  /** Decibels, for the order of rows. */
  readonly sqnr: number | null;
}

export type Column = "name" | "shape" | "type" | "size" | "sqnr";

export interface Order {
  readonly column: Column | null;
  readonly isDescending: boolean;
}

export const search: Signal<string> = signal("");
export const onlyChanging: Signal<boolean> = signal(false);
/** Without a column, the order of the file. */
export const order: Signal<Order> = signal({ column: null, isDescending: false });

/** The plan follows the tensors one by one; a plan of other files would not. */
const rows: ReadonlySignal<readonly Row[]> = computed(() => {
  const tensors = opened.value?.inspection.tensors ?? [];
  const plans = planned.value?.tensors ?? [];
  const figures = measured.value;
  return tensors.map((tensor, i): Row => {
    const plan = plans[i]?.name === tensor.name ? plans[i] : null;
    const precision = figures.get(tensor.name);
    return precision === undefined
      ? { tensor, plan, precision: null, sqnr: null }
      : { tensor, plan, precision, sqnr: sqnr(precision) };
  });
});

/** Names with their numbers padded, so that layer 2 comes before layer 10. */
const nameKeys: ReadonlySignal<ReadonlyMap<string, string>> = computed(
  () =>
    new Map(
      opened.value?.inspection.tensors.map(({ name }) => [
        name,
        name.replace(/\d+/g, (digits) => digits.padStart(8, "0")),
      ]),
    ),
);

const elements = ({ tensor }: Row): number => tensor.shape.reduce((n, side) => n * side, 1);

function compare(column: Column): (a: Row, b: Row) => number {
  switch (column) {
    case "name": {
      const keys = nameKeys.value;
      return (a, b) => (keys.get(a.tensor.name)! < keys.get(b.tensor.name)! ? -1 : 1);
    }
    case "shape":
      return (a, b) => elements(a) - elements(b);
    case "type":
      return (a, b) => a.tensor.dtype.localeCompare(b.tensor.dtype);
    case "size":
      return (a, b) => a.tensor.bytes - b.tensor.bytes;
    case "sqnr":
      return (a, b) => (a.sqnr ?? Infinity) - (b.sqnr ?? Infinity);
  }
}

export const total: ReadonlySignal<number> = computed(() => rows.value.length);

/** What the table shows: found, and in order. */
export const visible: ReadonlySignal<readonly Row[]> = computed(() => {
  const wanted = search.value.trim().toLowerCase().split(/\s+/);
  const found = rows.value.filter(({ tensor, plan }) => {
    if (onlyChanging.value && (plan === null || plan.action === "copy")) return false;
    const name = tensor.name.toLowerCase();
    return wanted.every((word) => name.includes(word));
  });
  const { column, isDescending } = order.value;
  if (column === null) return found;
  const by = compare(column);
  return found.sort((a, b) => (isDescending ? by(b, a) : by(a, b)));
});

/** Whether a click can change what happens to a tensor. */
export function canToggle({ tensor, plan }: Row, action: "quantize" | "dequantize"): boolean {
  if (plan === null) return false;
  if (plan.action !== "copy") return true;
  if (action === "dequantize") return tensor.scaled !== null;
  return tensor.shape.length >= 2 && (tensor.scaled !== null || /^(BF16|F16|F32)$/.test(tensor.dtype));
}
