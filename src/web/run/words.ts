import { computed, type ReadonlySignal } from "@preact/signals";
import { language } from "../strings/index.ts";
import type { ModelAction } from "./state.ts";

const en = {
  heading: "Does it still work?",
  lead: "Run a model as it is and as FP8 or FP4, side by side: what both write, how likely they find each token, and how fast they are. Everything runs in this tab.",
  facts: (architecture: string, parameters: string): string => `${architecture}, ${parameters} parameters`,
  threads: (n: number, canShare: boolean): string =>
    n > 1
      ? `${n} threads`
      : canShare
        ? "1 thread"
        : "1 thread: this page cannot share memory between several",
  opening: (part: string): string => `Reading the weights: ${part}`,
  converting: (part: string): string => `Converting: ${part}`,
  isConverted: (before: string, after: string): string => `${before} of weights became ${after}`,
  unchanged: "No tensor changes in this format: both columns are the same model.",
  compare: "Compare with a conversion",
  tasks: { label: "What to do", continue: "Continue a text", measure: "Measure on a text", chat: "Chat" } as {
    label: string;
  } & Record<ModelAction, string>,
  encoder:
    "This model turns texts into vectors. It writes no text, so there is nothing to continue or to ask.",
  noTokenizer: "There is no tokenizer.json among the files: open the folder that holds it.",
  noChat: "This model has no chat template: it can continue a text, but not answer messages.",
  prompt: "Beginning of a text",
  length: "Tokens",
  temperature: "Temperature",
  likeliest: "0: always the likeliest",
  go: "Go on",
  stop: "Stop",
  original: "Original",
  speed: (n: string): string => `${n} tokens/s`,
  perSecond: "Tokens/s",
  nothingYet: "Nothing is written yet.",
  underlined: "Marked: tokens that differ from the original's at the same place.",
  positions: "What both expected, token by token",
  positionsNote:
    "Both models read the original's text. The stronger the colour of a token, the further their predictions of it are apart. Choose one to see them.",
  divergence: "KL divergence",
  divergenceNote: "nats, by token of the original's text",
  mean: "KL divergence, mean",
  sameTop: "Same likeliest token",
  likely: (place: string): string => `Likely tokens in place of ${place}`,
  token: "Token",
  written: "written",
  text: "Text to measure on",
  textNote:
    "A few pages say more than a few lines. Use the language and the kind of text that the model is made for.",
  measure: "Measure",
  measuring: (part: string): string => `Measuring: ${part}`,
  wantsConversion: "Choose a format to compare with.",
  figures: {
    perplexityBase: "Perplexity of the original",
    perplexity: "Perplexity, converted",
    kldMean: "KL divergence, mean",
    kldMedian: "KL divergence, median",
    kld99: "KL divergence, 99% below",
    kldMax: "KL divergence, largest",
    sameTop: "Same likeliest token",
    rmsDeltaP: "Difference of probability, RMS",
  },
  counted: (tokens: string, context: string): string =>
    `${tokens} tokens, in contexts of ${context}; ± is the standard error`,
  verdict: (kl: number): string =>
    kl < 0.001
      ? "Almost the same as the original."
      : kl < 0.01
        ? "Close to the original: a few words differ."
        : kl < 0.1
          ? "Clearly different from the original."
          : "Far from the original.",
  worst: "Where both differ most",
  before: "Text before",
  message: "Your message",
  send: "Send",
  you: "You",
  answer: "Answer",
  partner: "Talk to",
  restart: "New conversation",
  empty: "Say something.",
};

const zh: typeof en = {
  heading: "它还好用吗？",
  lead: "将原模型与其 FP8 或 FP4 版本并排运行：看两者写出什么、对每个词元有多大把握、速度如何。一切都在此标签页中进行。",
  facts: (architecture, parameters) => `${architecture}，${parameters} 个参数`,
  threads: (n, canShare) =>
    n > 1 ? `${n} 个线程` : canShare ? "1 个线程" : "1 个线程：此页面无法在线程间共享内存",
  opening: (part) => `正在读取权重：${part}`,
  converting: (part) => `正在转换：${part}`,
  isConverted: (before, after) => `权重从 ${before} 变为 ${after}`,
  unchanged: "此格式下没有张量变化：两栏是同一个模型。",
  compare: "与转换后的模型比较",
  tasks: { label: "要做什么", continue: "续写文本", measure: "用文本测量", chat: "对话" },
  encoder: "此模型把文本变成向量，不写文本：没有可续写或提问的内容。",
  noTokenizer: "文件中没有 tokenizer.json：请打开包含它的文件夹。",
  noChat: "此模型没有对话模板：它只会续写文本，不懂对话轮次。",
  prompt: "文本的开头",
  length: "词元数",
  temperature: "温度",
  likeliest: "0：总取最可能的",
  go: "续写",
  stop: "停止",
  original: "原模型",
  speed: (n) => `${n} 词元/秒`,
  perSecond: "词元/秒",
  nothingYet: "还没有写出内容。",
  underlined: "标记：与原模型在此处所写的不同。",
  positions: "两者逐词元的预期",
  positionsNote: "两个模型读的都是原模型写的文本。词元颜色越深，两者对它的预测相差越大。选择一个词元查看。",
  divergence: "KL 散度",
  divergenceNote: "nat，按原模型文本的词元",
  mean: "KL 散度，平均",
  sameTop: "最可能的词元相同",
  likely: (place) => `在 ${place} 的位置可能出现的词元`,
  token: "词元",
  written: "已写出",
  text: "用于测量的文本",
  textNote: "几页比几行更能说明问题。请用模型所针对的语言和类型的文本。",
  measure: "测量",
  measuring: (part) => `正在测量：${part}`,
  wantsConversion: "请选择要比较的格式。",
  figures: {
    perplexityBase: "原模型的困惑度",
    perplexity: "转换后的困惑度",
    kldMean: "KL 散度，平均",
    kldMedian: "KL 散度，中位数",
    kld99: "KL 散度，99% 分位",
    kldMax: "KL 散度，最大",
    sameTop: "最可能的词元相同",
    rmsDeltaP: "概率差，均方根",
  },
  counted: (tokens, context) => `${tokens} 个词元，上下文长度 ${context}；± 为标准误差`,
  verdict: (kl) =>
    kl < 0.001
      ? "几乎与原模型无异。"
      : kl < 0.01
        ? "与原模型接近：少数词不同。"
        : kl < 0.1
          ? "与原模型有明显差别。"
          : "与原模型相去甚远。",
  worst: "两者相差最大之处",
  before: "之前的文本",
  message: "你的消息",
  send: "发送",
  you: "你",
  answer: "回答",
  partner: "对话对象",
  restart: "新对话",
  empty: "说点什么吧。",
};

export const words: ReadonlySignal<typeof en> = computed(() => ({ en, zh })[language.value]);
