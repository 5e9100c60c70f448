import { countOf } from "../../checkpoint/read/weights.ts";
import { add, NOTHING, type Precision } from "../../engine/precision.ts";
import { bytesOf, changes, type Row } from "./rows.ts";

/** What a group holds, at any depth. */
export interface Sums {
  readonly tensors: number;
  readonly parameters: number;
  readonly bytes: number;
  readonly changing: number;
  /** Precision of the tensors that were measured. */
  readonly precision: Precision;
}

/** Tensors whose names begin in the same way. */
export interface Group extends Sums {
  /** The part of the name below the group it lies in: `layers.0`. */
  readonly label: string;
  /** The name from its start: `model.layers.0`. */
  readonly path: string;
  readonly children: readonly TreeNode[];
}

/** A tensor in a tree. */
export interface Leaf {
  readonly label: string;
  readonly row: Row;
}

export type TreeNode = Group | Leaf;

/** A line of the tree as it is shown. */
export interface Line {
  readonly node: TreeNode;
  /** From 1. */
  readonly level: number;
  /** Index of the line of the group it lies in; -1 at the top. */
  readonly parent: number;
}

type Branch = Map<string, Branch | Row>;

/**
 * Groups tensors by the parts of their names between dots. A group of one thing is no group: its label goes
 * before that of what it holds, so `o_proj.weight` is one line.
 * @param rows in the order to show them in
 */
export function treeOf(rows: readonly Row[], measured: ReadonlyMap<string, Precision>): TreeNode[] {
  const root: Branch = new Map();
  for (const row of rows) {
    const parts = row.tensor.name.split(".");
    const last = parts.pop()!;
    let branch = root;
    for (const part of parts) {
      let next = branch.get(part);
      // A tensor may be called as others begin: it stands beside their group.
      if (!(next instanceof Map)) {
        if (next !== undefined) branch.set(`${part}\n`, next);
        next = new Map();
        branch.set(part, next);
      }
      branch = next;
    }
    branch.set(branch.has(last) ? `${last}\n` : last, row);
  }
  return nodesOf(root, "", measured);
}

function nodesOf(branch: Branch, path: string, measured: ReadonlyMap<string, Precision>): TreeNode[] {
  return [...branch].map(([key, value]): TreeNode => {
    const label = key.trimEnd();
    if (!(value instanceof Map)) return { label, row: value };
    const whole = path + label;
    const children = nodesOf(value, `${whole}.`, measured);
    const [only] = children;
    if (children.length === 1) return { ...only!, label: `${label}.${only!.label}` };
    return { label, path: whole, children, ...sumsOf(children, measured) };
  });
}

function sumsOf(children: readonly TreeNode[], measured: ReadonlyMap<string, Precision>): Sums {
  let [tensors, parameters, bytes, changing, precision] = [0, 0, 0, 0, NOTHING];
  for (const child of children) {
    const sums = "row" in child ? sumsOfRow(child.row, measured) : child;
    tensors += sums.tensors;
    parameters += sums.parameters;
    bytes += sums.bytes;
    changing += sums.changing;
    precision = add(precision, sums.precision);
  }
  return { tensors, parameters, bytes, changing, precision };
}

function sumsOfRow(row: Row, measured: ReadonlyMap<string, Precision>): Sums {
  return {
    tensors: 1,
    parameters: countOf(row.tensor.shape),
    bytes: bytesOf(row),
    changing: changes(row) ? 1 : 0,
    precision: measured.get(row.tensor.name) ?? NOTHING,
  };
}

/** The lines in sight: all of a group where it is open, and only its own where not. */
export function linesOf(nodes: readonly TreeNode[], isOpen: (group: Group) => boolean): Line[] {
  const lines: Line[] = [];
  const walk = (some: readonly TreeNode[], level: number, parent: number) => {
    for (const node of some) {
      const index = lines.push({ node, level, parent }) - 1;
      if (!("row" in node) && isOpen(node)) walk(node.children, level + 1, index);
    }
  };
  walk(nodes, 1, -1);
  return lines;
}
