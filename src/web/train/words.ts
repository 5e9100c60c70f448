import { computed, type ReadonlySignal } from "@preact/signals";
import { language } from "../strings/index.ts";

const en = {
  heading: "Train a small model in this tab",
  lead: "Two models of 360,000 parameters begin alike and read the same text, byte by byte. One computes in float32, the other as the recipe says. Watch what low precision does to the loss.",
  settings: "Settings",
  text: { label: "Text", stories: "Little stories", sums: "Sums below 100", own: "Your own" },
  own: "Your text, a page at least",
  recipe: "Recipe",
  steps: "Steps",
  step: "Step",
  start: "Train",
  again: "Start anew",
  stop: "Stop",
  go: "Go on",
  save: "Download checkpoint",
  saveNote:
    "config.json, model.safetensors, the optimiser and the tokenizer, as one .zip. Unpacked, it opens in this page and in transformers.",
  loss: "Loss",
  lossOf: (name: string): string => `Loss, ${name}`,
  lossNote: "Cross-entropy of the next byte, in nats, by step",
  ranges: "Values out of range",
  rangesNote: "Share of rounded values that became zero or were cut, by step",
  flushed: "Became zero",
  saturated: "Saturated",
  sample: (step: number): string => `What it writes after ${step} steps`,
  progress: (step: number, of: number): string => `Step ${step} of ${of}`,
  ended: "Done",
  failed: "Training stopped",
  card: (steps: number): string => `A small model after ${steps} steps`,
};

const zh: typeof en = {
  heading: "在此标签页中训练小模型",
  lead: "两个 36 万参数的模型从相同的起点出发，逐字节阅读相同的文本。一个用 float32 计算，另一个按配方计算。看看低精度如何影响损失。",
  settings: "设置",
  text: { label: "文本", stories: "小故事", sums: "100 以内的加法", own: "自己的文本" },
  own: "你的文本，至少一页",
  recipe: "配方",
  steps: "步数",
  step: "步",
  start: "训练",
  again: "重新开始",
  stop: "停止",
  go: "继续",
  save: "下载检查点",
  saveNote:
    "config.json、model.safetensors、优化器和分词器，打包为一个 .zip。解压后可在本页和 transformers 中打开。",
  loss: "损失",
  lossOf: (name) => `损失，${name}`,
  lossNote: "下一字节的交叉熵（nat），按步",
  ranges: "超出范围",
  rangesNote: "舍入后变成零或被截断的值所占比例，按步",
  flushed: "变成零",
  saturated: "饱和",
  sample: (step) => `${step} 步之后它写的内容`,
  progress: (step, of) => `第 ${step} 步，共 ${of} 步`,
  ended: "完成",
  failed: "训练已停止",
  card: (steps) => `小模型，训练 ${steps} 步`,
};

export const words: ReadonlySignal<typeof en> = computed(() => ({ en, zh })[language.value]);
