import { computed, type ReadonlySignal } from "@preact/signals";
import type { ComparedTensor } from "../../checkpoint/measure/compare.ts";
import { language } from "../strings/index.ts";

const counted = (n: string): string => (n === "1" ? "1 tensor" : `${n} tensors`);

const en = {
  heading: "Compare two checkpoints",
  lead: "Tensor by tensor, whatever their formats: how far the values of the second are from those of the first. For conversions, fine-tunes, and downloads that should be the same.",
  first: "First, the original",
  second: "Second",
  chooseFirst: "Open the first one",
  chooseSecond: "Open the second one",
  comparing: (n: string): string => `Comparing: ${n} tensors so far`,
  stop: "Stop",
  change: "Compare with another",
  same: (n: string): string => `${counted(n)}: nothing was lost.`,
  verdict: (n: string, exact: string, least: string): string =>
    `${counted(n)}, ${exact} of them without loss; the least SQNR is ${least}.`,
  nothing: "There is no tensor in both whose values can be compared.",
  others: (n: string): string => `Not compared: ${n}, for the reasons in the list.`,
  apart: "They are not the same model: tensors are missing, or of other shapes.",
  tensor: "Tensor",
  cosine: "Cosine",
  largest: "Largest error",
  worst: "Worst block",
  at: (row: string, column: string): string => `row ${row}, column ${column}`,
  equal: "equal",
  lossless: "Without loss",
  order: (n: string, of: string): string => `${n} of ${of}, those that lost most first`,
  status: {
    compared: "compared",
    "only in A": "only in the first",
    "only in B": "only in the second",
    differs: "other shape",
    "not compared": "not compared",
  } as Record<ComparedTensor["status"], string>,
  save: "Figures as JSON",
};

const zh: typeof en = {
  heading: "比较两个检查点",
  lead: "逐个张量比较，不论格式：第二个的数值与第一个相差多少。可用于转换、微调，或本应相同的下载。",
  first: "第一个（原始检查点）",
  second: "第二个",
  chooseFirst: "打开第一个",
  chooseSecond: "打开第二个",
  comparing: (n) => `正在比较：已完成 ${n} 个张量`,
  stop: "停止",
  change: "与其他的比较",
  same: (n) => `${n} 个张量：没有任何损失。`,
  verdict: (n, exact, least) => `${n} 个张量，其中 ${exact} 个无损；最低 SQNR 为 ${least}。`,
  nothing: "没有两者共有且数值可以比较的张量。",
  others: (n) => `未比较：${n} 个，原因见列表。`,
  apart: "它们不是同一个模型：有张量缺失或形状不同。",
  tensor: "张量",
  cosine: "余弦",
  largest: "最大误差",
  worst: "最差的块",
  at: (row, column) => `第 ${row} 行，第 ${column} 列`,
  equal: "相同",
  lossless: "无损",
  order: (n, of) => `${n} / ${of}，损失最大的在前`,
  status: {
    compared: "已比较",
    "only in A": "只在第一个中",
    "only in B": "只在第二个中",
    differs: "形状不同",
    "not compared": "未比较",
  },
  save: "数据（JSON）",
};

export const words: ReadonlySignal<typeof en> = computed(() => ({ en, zh })[language.value]);
