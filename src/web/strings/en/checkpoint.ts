/** Words of a checkpoint that is open, and of the table of its tensors. */
export const checkpoint = {
  open: {
    another: "Open another",
    files: (n: number): string => (n === 1 ? "1 file" : `${n} files`),
    tensors: (n: string, one: boolean): string => (one ? "1 tensor" : `${n} tensors`),
    parameters: (n: string): string => `${n} parameters`,
    notQuantised: "not quantised",
    dialect: (name: string): string => `Quantised: ${name}`,
    composition: "Bytes by data type",
    metadata: "Other metadata in the header (__metadata__)",
    shardNumber: (index: number, of: number): string =>
      `This is file ${index} of ${of}. Open all of them together to convert the model.`,
    missingScaleIsOne:
      "Some scales are in files that are not open: those tensors are shown as if their scale were 1.",
  },

  table: {
    heading: "Tensors",
    search: "Search tensors",
    name: "Name",
    type: "Type",
    shape: "Shape",
    size: "Size",
    sqnr: "SQNR",
    sqnrHelp: "Signal to quantisation noise in decibels: higher is better",
    shown: (n: string, total: string): string => `${n} of ${total}`,
    nothing: "No tensor has such a name.",
    none: "There are no tensors in here.",
    warnings: (n: number): string => `${n} warnings`,
    odd: "Something is odd here: open it to see what",
    kept: "kept",
    dropped: "left out",
    convert: (name: string): string => `Convert ${name}`,
    onlyChanging: "Only those that change",
    hint: "Arrow keys move, Enter shows a tensor, Space keeps or converts it.",
    byLayer: "By layer",
    treeHint: "Arrow keys move, open and close; Enter shows a tensor, Space keeps or converts it.",
    groupChanges: (n: string, total: string): string => `${n} of ${total} change`,
  },
};
