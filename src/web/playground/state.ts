import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { Scheme } from "../../tensor/schemes.ts";

/** Size of the matrix. */
export const ROWS = 32;
export const COLS = 64;

export const MATRICES = ["gaussian", "heavy", "outlier", "zero"] as const;
export const FORMATS = ["e4m3", "e5m2", "e2m3", "e2m1"] as const;
export const BLOCKS = ["8", "16", "32", "64"] as const;
/** How a block gets its scale: four rules for powers of two, and two kinds that are not powers of two. */
export const RULES = ["rceil", "floor", "ceil", "even", "f32", "nvfp4"] as const;
/** The tensors to quantise: activations have blocks along a row, weights square ones. */
export const ROLES = ["activation", "weight"] as const;

/** Values of the brush, by the letter that stands for each in the address. */
export const BRUSHES: Readonly<Record<string, number>> = {
  a: 0,
  b: 0.0001,
  c: 0.01,
  d: 1,
  e: -1,
  f: 10,
  g: 100,
  h: 1000,
  i: 100000,
};

/** All that the playground shows follows from these. */
export interface Settings {
  readonly matrix: (typeof MATRICES)[number];
  readonly format: (typeof FORMATS)[number];
  readonly block: (typeof BLOCKS)[number];
  readonly rule: (typeof RULES)[number];
  readonly role: (typeof ROLES)[number];
  readonly seed: number;
  /** Cells painted by hand: the letter of a brush by the number of the cell, row by row. */
  readonly painted: ReadonlyMap<number, string>;
}

export const STANDARD: Settings = {
  matrix: "outlier",
  format: "e4m3",
  block: "32",
  rule: "rceil",
  role: "activation",
  seed: 1,
  painted: new Map(),
};

export const settings: Signal<Settings> = signal(STANDARD);

export function change(fields: Partial<Settings>): void {
  const next = { ...settings.value, ...fields };
  // E4M3 scales are for FP4 alone.
  settings.value = next.rule === "nvfp4" && next.format !== "e2m1" ? { ...next, rule: "rceil" } : next;
}

/** The settings as a scheme of the engine. */
export const scheme: ReadonlySignal<Scheme> = computed(() => {
  const { format, block, rule, role } = settings.value;
  const side = Number(block);
  return {
    format,
    block: role === "weight" ? [side, side] : [1, side],
    rounding: rule === "f32" || rule === "nvfp4" ? "rceil" : rule,
    amaxFloor: 0,
    zeroScale: 0,
    scale: rule === "f32" ? "f32" : rule === "nvfp4" ? "e4m3" : "ue8m0",
  };
});

/** What differs from the standard, for the address. */
export function fieldsOf(given: Settings): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const name of ["matrix", "format", "block", "rule", "role"] as const)
    if (given[name] !== STANDARD[name]) fields[name] = given[name];
  if (given.seed !== STANDARD.seed) fields.seed = String(given.seed);
  if (given.painted.size > 0)
    fields.paint = [...given.painted]
      .map(([cell, brush]) => cell.toString(36) + brush.toUpperCase())
      .join("");
  return fields;
}

/** The settings that an address asks for; what is not known there stays the standard. */
export function settingsOf(params: URLSearchParams): Settings {
  const one = <T extends string>(name: string, known: readonly T[], standard: T): T => {
    const found = params.get(name) as T;
    return known.includes(found) ? found : standard;
  };
  const seed = Number(params.get("seed") ?? STANDARD.seed);
  const painted = new Map<number, string>();
  for (const [, cell, brush] of (params.get("paint") ?? "").matchAll(/([0-9a-z]{1,3})([A-I])/g)) {
    const at = Number.parseInt(cell!, 36);
    if (at < ROWS * COLS) painted.set(at, brush!.toLowerCase());
  }
  const format = one("format", FORMATS, STANDARD.format);
  const rule = one("rule", RULES, STANDARD.rule);
  return {
    matrix: one("matrix", MATRICES, STANDARD.matrix),
    format,
    block: one("block", BLOCKS, STANDARD.block),
    rule: rule === "nvfp4" && format !== "e2m1" ? STANDARD.rule : rule,
    role: one("role", ROLES, STANDARD.role),
    seed: Number.isSafeInteger(seed) && seed >= 0 ? seed : STANDARD.seed,
    painted,
  };
}
