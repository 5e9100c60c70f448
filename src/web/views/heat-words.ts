import { computed, type ReadonlySignal } from "@preact/signals";
import { language } from "../strings/index.ts";

const en = {
  rowAxis: "↓ block, and its first row",
  colAxis: "→ block, and its first column",
  uniform: (scale: string): string => `All scales are ${scale}`,
  keys: "Click a block to see its values, or move with the arrow keys and press Enter.",
  touch: "Tap a block to see its values.",
  cell: (row: number, col: number, scale: string): string => `block (${row}, ${col}): scale ${scale}`,
  heading: (row: number, col: number): string => `Block (${row}, ${col})`,
  place: (slice: number, rows: string, cols: string): string =>
    `${slice > 0 ? `slice ${slice}, ` : ""}rows ${rows}, columns ${cols}`,
  scale: "Scale",
  amax: "Largest value",
  error: "Largest error",
  before: "before",
  after: "after",
  stored: "stored",
  some: (rows: number, cols: number, ofRows: number, ofCols: number): string =>
    `The first ${rows} × ${cols} of ${ofRows} × ${ofCols} values`,
  close: "Close the block",
};

const zh: typeof en = {
  rowAxis: "↓ 块，及其首行",
  colAxis: "→ 块，及其首列",
  uniform: (scale) => `所有缩放因子均为 ${scale}`,
  keys: "点击一个块查看其数值，或用方向键移动并按回车键。",
  touch: "点按一个块查看其数值。",
  cell: (row, col, scale) => `块 (${row}, ${col})：缩放因子 ${scale}`,
  heading: (row, col) => `块 (${row}, ${col})`,
  place: (slice, rows, cols) => `${slice > 0 ? `切片 ${slice}，` : ""}行 ${rows}，列 ${cols}`,
  scale: "缩放因子",
  amax: "最大值",
  error: "最大误差",
  before: "之前",
  after: "之后",
  stored: "存储值",
  some: (rows, cols, ofRows, ofCols) => `${ofRows} × ${ofCols} 个数值中的前 ${rows} × ${cols} 个`,
  close: "关闭此块",
};

export const words: ReadonlySignal<typeof en> = computed(() => ({ en, zh })[language.value]);
