/** Small checkpoints that are served beside the page. */
export const EXAMPLES = {
  stories: ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"],
  "stories-fp8": ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"],
  outliers: ["config.json", "model.safetensors"],
} as const;

export type ExampleName = keyof typeof EXAMPLES;

export function isExample(name: string | null | undefined): name is ExampleName {
  return name != null && Object.hasOwn(EXAMPLES, name);
}

/** Fetches the files of an example. */
export async function fetchExample(name: ExampleName): Promise<{ path: string; file: File }[]> {
  return Promise.all(
    EXAMPLES[name].map(async (path) => {
      const response = await fetch(`examples/${name}/${path}`);
      if (!response.ok) throw new Error(`examples/${name}/${path}: ${response.status}`);
      return { path, file: new File([await response.blob()], path) };
    }),
  );
}
