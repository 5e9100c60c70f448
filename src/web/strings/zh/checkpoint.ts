import type { checkpoint as english } from "../en/checkpoint.ts";

export const checkpoint: typeof english = {
  open: {
    another: "打开其他文件",
    files: (n) => `${n} 个文件`,
    tensors: (n) => `${n} 个张量`,
    // 146.3万 ends with a word itself.
    parameters: (n) => `${n}${/\d$/.test(n) ? " " : ""}个参数`,
    notQuantised: "未量化",
    dialect: (name) => `已量化：${name}`,
    composition: "各数据类型所占字节",
    metadata: "文件头中的其他信息（__metadata__）",
    shardNumber: (index, of) => `这是 ${of} 个文件中的第 ${index} 个。请一起打开所有文件，再转换模型。`,
    missingScaleIsOne: "部分缩放因子在未打开的文件中：这些张量按缩放因子为 1 显示。",
  },

  table: {
    heading: "张量",
    search: "搜索张量",
    name: "名称",
    type: "类型",
    shape: "形状",
    size: "大小",
    sqnr: "SQNR",
    sqnrHelp: "信号与量化噪声之比，单位分贝：越高越好",
    shown: (n, total) => `${n} / ${total}`,
    nothing: "没有匹配的张量。",
    none: "此处没有张量。",
    warnings: (n) => `${n} 条警告`,
    odd: "此处有异常：打开查看",
    kept: "保留",
    dropped: "舍去",
    convert: (name) => `转换 ${name}`,
    onlyChanging: "只显示有变化的",
    hint: "方向键移动，回车查看张量，空格切换保留或转换。",
    byLayer: "按层",
    treeHint: "方向键移动、展开和折叠；回车键查看张量，空格键切换保留或转换。",
    groupChanges: (n, total) => `${total} 个中 ${n} 个改变`,
  },
};
