import { countOf } from "../../checkpoint/read/weights.ts";
import { addPrecisions, EMPTY_PRECISION, type Precision } from "../../engine/precision.ts";
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

/**
 * Groups tensors by the parts of their names between dots. A group of one thing is no group: its label goes
 * before that of what it holds, so `o_proj.weight` is one line.
 * @param rows in the order of their names: those that begin alike follow each other
 */
export function treeOf(rows: readonly Row[], measured: ReadonlyMap<string, Precision>): TreeNode[] {
  return nodesOf(rows, 0, rows.length, 0, measured);
}

/**
 * Nodes of the rows from `start` to `end`, whose names are the same before the part that begins at `from`.
 */
function nodesOf(
  rows: readonly Row[],
  start: number,
  end: number,
  from: number,
  measured: ReadonlyMap<string, Precision>,
): TreeNode[] {
  const nodes: TreeNode[] = [];
  for (let at = start; at < end; ) {
    const { name } = rows[at]!.tensor;
    const dot = name.indexOf(".", from);
    // A tensor may have the name of a group: it is listed beside the group.
    const isApart = dot < 0;
    const inside = isApart ? `${name}.` : name.slice(0, dot + 1);
    const first = isApart ? at + 1 : at;
    let next = first;
    while (next < end && rows[next]!.tensor.name.startsWith(inside)) next++;
    if (next - first === 1) nodes.push(leafOf(rows[first]!, from));
    else if (next > first) nodes.push(groupOf(rows, first, next, from, inside, measured));
    if (isApart) nodes.push(leafOf(rows[at]!, from));
    at = next;
  }
  return nodes;
}

const leafOf = (row: Row, from: number): Leaf => ({ label: row.tensor.name.slice(from), row });

/** The node of several rows whose names begin with `inside`, of which the last part begins at `from`. */
function groupOf(
  rows: readonly Row[],
  start: number,
  end: number,
  from: number,
  inside: string,
  measured: ReadonlyMap<string, Precision>,
): TreeNode {
  const path = inside.slice(0, -1);
  const label = path.slice(from);
  const children = nodesOf(rows, start, end, inside.length, measured);
  const [only] = children;
  if (children.length === 1) return { ...only!, label: `${label}.${only!.label}` };
  return { label, path, children, ...sumsOf(children, measured) };
}

function sumsOf(children: readonly TreeNode[], measured: ReadonlyMap<string, Precision>): Sums {
  let [tensors, parameters, bytes, changing, precision] = [0, 0, 0, 0, EMPTY_PRECISION];
  for (const child of children) {
    if ("row" in child) {
      const { row } = child;
      const found = measured.get(row.tensor.name);
      tensors++;
      parameters += countOf(row.tensor.shape);
      bytes += bytesOf(row);
      if (changes(row)) changing++;
      if (found !== undefined) precision = addPrecisions(precision, found);
      continue;
    }
    tensors += child.tensors;
    parameters += child.parameters;
    bytes += child.bytes;
    changing += child.changing;
    if (child.precision !== EMPTY_PRECISION) precision = addPrecisions(precision, child.precision);
  }
  return { tensors, parameters, bytes, changing, precision };
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
