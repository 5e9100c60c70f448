/** Words of the frame of the page, of its views, and of the start. */
export const page = {
  title: "blockscale",
  tagline: "FP8 copies of AI models, made in your browser",
  skip: "Skip to content",
  /** Between a name and its value. */
  colon: ": ",
  /** At the end of a sentence. */
  period: ".",
  theme: { label: "Appearance", auto: "System", light: "Light", dark: "Dark" },

  views: {
    label: "Parts of the page",
    convert: "Convert",
    playground: "Playground",
    run: "Run",
    compare: "Compare",
    train: "Train",
  },

  examples: {
    heading: "Or try an example",
    stories: {
      title: "A language model, BF16",
      text: "Writes little stories. 0.7 MB: convert it, look at its weights.",
    },
    "stories-fp8": {
      title: "The same in FP8",
      text: "With UE8M0 scales as DeepSeek-V3.1 has them: see its codes, or turn it back.",
    },
    outliers: {
      title: "Difficult weights",
      text: "Heavy tails, a channel of outliers, tiny values: where formats differ.",
    },
  },

  start: {
    heading: "Make an FP8 copy of a model, right here",
    lead: "Half the size of BF16, ready for vLLM, SGLang and transformers. Or look inside one that is FP8 already. Your files never leave this computer.",
    drop: "Drop .safetensors files or a model folder here",
    choose: "Choose .safetensors files or a model folder",
    files: "Choose files",
    folder: "Choose folder",
    opening: "Reading headers…",
    dropNow: "Drop to open",
    cutOff:
      "The last conversion was cut off before it ended. Its unfinished output has been removed; nothing of it was complete.",
    offline: "Works offline once loaded",
    private: "Nothing is uploaded",
    memory: "Any size, little memory",
    urlLabel: "Or open one on Hugging Face, or at any address",
    urlPlaceholder: "https://… or owner/model",
    urlOpen: "Open",
    token: "Access token of Hugging Face",
    tokenNote: "Sent to Hugging Face alone, and gone when this tab is closed.",
    unsaved: "Finished and not saved yet",
    remove: "Delete",
  },
};
