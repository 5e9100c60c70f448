import type { Destination } from "../../state/destinations.ts";

/** Words of a conversion: what to make, how it goes, what came of it. */
export const conversion = {
  convert: {
    heading: "Convert",
    quantize: "Quantise",
    dequantize: "To plain values",
    action: "What to make",
    target: "Format",
    destination: "To be used in",
    destinations: {
      servers: "vLLM or SGLang",
      transformers: "transformers",
      compressor: "vLLM, as llm-compressor writes it",
      modelopt: "TensorRT-LLM, as ModelOpt writes it",
      quark: "vLLM, as AMD Quark writes it",
      deepseek: "Loaders of DeepSeek-V4",
      gptOss: "Loaders of gpt-oss",
    } satisfies Record<Destination, string> as Record<Destination, string>,
    dtype: "Data type",
    options: "Choose tensors by name",
    include: "Also convert",
    exclude: "Keep as they are",
    patternHelp: "One pattern per line. * stands for any text; re: starts a regular expression.",
    patternExample: "*.o_proj.weight",
    overrides: "A format for each weight",
    overridesHelp:
      "What `blockscale sensitivity --out` writes: nvfp4, mxfp4, mxfp8, fp8 or keep, by pattern; the first that fits counts. The rest becomes fp8.",
    overridesCount: (n: number): string =>
      n === 1 ? "1 override; the rest becomes fp8." : `${n} overrides; the rest becomes fp8.`,
    overridesFile: "Take from a file",
    changes: (n: string, total: string): string => `${n} of ${total} tensors change`,
    nothing: "Nothing would change with these settings.",
    outputSize: "Output",
    smaller: (percent: string): string => `${percent} smaller`,
    larger: (percent: string): string => `${percent} larger`,
    time: "Time",
    about: (duration: string): string => `about ${duration}`,
    measuring: "measuring…",
    served: (rate: string): string => `the server gives ${rate}/s`,
    start: "Convert",
    startTo: "Choose where to save",
    noPattern: (line: string): string => `${line} is no regular expression yet.`,
    noConfig: "No config.json is open: loaders will not see that the output is quantised",
    toAdd: "Open the folder with config.json instead, or add this to the config.json beside the output:",
    reset: (n: number): string => (n === 1 ? "Undo 1 single choice" : `Undo ${n} single choices`),
    privateNote: (size: string): string =>
      `This browser keeps the output (${size}) in its own storage first, then downloads it.`,
  },

  run: {
    heading: "Converting",
    verifying: "Checking what was written",
    paused: "Paused",
    pause: "Pause",
    resume: "Resume",
    cancel: "Cancel",
    progress: (done: string, size: string): string => `${done} of ${size}`,
    rate: (rate: string): string => `${rate}/s`,
    left: (duration: string): string => `${duration} left`,
    leave: "Keep this tab open.",
  },

  done: {
    heading: "Done",
    verified: (n: number): string =>
      n === 1
        ? "The file was read back and is what was written."
        : `All ${n} files were read back and are what was written.`,
    saved: "Saved where you chose.",
    save: "Save",
    saveAll: (n: number): string => `Save ${n} files as .zip`,
    packing: "Packing…",
    saveNote: "Your browser copies the output into your downloads. Keep this tab open until it has finished.",
    checksum: "XXH64",
    took: "Took",
    again: "Convert differently",
    report: "Report",
    change: (before: string, after: string, percent: string): string => `${before} → ${after}, ${percent}`,
    meaning: (percent: string): string => `noise is ${percent} of the signal`,
    serve: "Serve it with vLLM",
    copy: "Copy",
    copied: "Copied",
    worst: "Lowest SQNR",
    total: "All together",
  },

  card: {
    save: "Picture (PNG)",
    share: "Share picture",
    tagline: "FP8 and FP4, in the browser",
    noise: "Noise",
    example: "What you get, by the first example:",
  },

  leave: {
    heading: "The output is not saved",
    question: "It is finished and checked, and lies in this browser's own storage.",
    keep: "Keep it here for later",
    remove: "Delete it",
    stay: "Back",
  },
};
