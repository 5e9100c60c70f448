import type { page as english } from "../en/page.ts";

export const page: typeof english = {
  title: "blockscale",
  tagline: "在浏览器中生成 FP8 模型",
  skip: "跳到正文",
  colon: "：",
  period: "。",
  theme: { label: "外观", auto: "跟随系统", light: "浅色", dark: "深色" },

  views: {
    label: "页面的各部分",
    convert: "转换",
    playground: "试验台",
    run: "运行",
    compare: "比较",
    train: "训练",
  },

  examples: {
    heading: "或者试试示例",
    stories: { title: "语言模型，BF16", text: "会写小故事。0.7 MB：转换它，看看它的权重。" },
    "stories-fp8": {
      title: "同一模型，FP8",
      text: "带有 DeepSeek-V3.1 那样的 UE8M0 缩放因子：查看编码，或转换回去。",
    },
    outliers: { title: "棘手的权重", text: "重尾、离群通道、极小的值：各种格式的差别所在。" },
  },

  start: {
    heading: "在这里，生成模型的 FP8 副本",
    lead: "体积为 BF16 的一半，可直接用于 vLLM、SGLang 和 transformers；也可以查看已有的 FP8 模型。文件不会离开这台电脑。",
    drop: "将 .safetensors 文件或模型文件夹拖到这里",
    choose: "选择 .safetensors 文件或模型文件夹",
    files: "选择文件",
    folder: "选择文件夹",
    opening: "正在读取文件头…",
    dropNow: "松开即可打开",
    cutOff: "上一次转换在完成之前中断了。未完成的输出已被删除，没有留下任何不完整的文件。",
    offline: "加载后可离线使用",
    private: "不上传任何数据",
    memory: "大小不限，占用内存少",
    urlLabel: "或打开 Hugging Face 上的模型，或任意地址",
    urlPlaceholder: "https://… 或 owner/model",
    urlOpen: "打开",
    token: "Hugging Face 访问令牌",
    tokenNote: "只发送给 Hugging Face，关闭此标签页后即消失。",
    unsaved: "已完成但尚未保存",
    remove: "删除",
  },
};
