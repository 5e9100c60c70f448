import { readText, type Source } from "../../io/source.ts";
import { BlockscaleError } from "../../tensor/errors.ts";

const INDEX = "model_index.json";

/** A pipeline of diffusers: a folder of models, each in a folder of its own. */
export interface Pipeline {
  /** Files of each model by name relative to its folder, by the name of that. */
  readonly components: ReadonlyMap<string, ReadonlyMap<string, Source>>;
  /** Names of components that stay as they are: autoencoders, whose errors are seen in every picture. */
  readonly kept: ReadonlySet<string>;
  /** All files that belong to no component: schedulers, tokenizers, `model_index.json`. */
  readonly others: ReadonlyMap<string, Source>;
}

/**
 * Tells a pipeline from a checkpoint.
 * @returns `null` for anything else
 * @throws BlockscaleError `format`: a `model_index.json` that is no JSON
 */
export async function pipelineOf(files: ReadonlyMap<string, Source>): Promise<Pipeline | null> {
  const index = files.get(INDEX);
  const isModel = [...files.keys()].some((name) => name.endsWith(".safetensors") && !name.includes("/"));
  if (index === undefined || isModel) return null;
  const classes = parse(await readText(INDEX, index));
  const weights = [...files.keys()].filter((name) => name.endsWith(".safetensors"));
  const names = [...new Set(weights.map((name) => name.split("/")[0]!))].sort();
  if (names.length === 0) return null;
  const isOf = (component: string, file: string) => file.startsWith(`${component}/`);
  const components = names.map((component) => {
    const own = [...files].filter(([name]) => isOf(component, name));
    return [component, new Map(own.map(([name, file]) => [name.slice(component.length + 1), file]))] as const;
  });
  return {
    components: new Map(components),
    kept: new Set(names.filter((name) => /^(Auto|VQ)\w*|VAE/.test(classOf(classes[name])))),
    others: new Map([...files].filter(([name]) => !names.some((component) => isOf(component, name)))),
  };
}

/** `["diffusers", "AutoencoderKL"]`: library and class. */
function classOf(entry: unknown): string {
  return Array.isArray(entry) && typeof entry[1] === "string" ? entry[1] : "";
}

function parse(text: string): { readonly [component: string]: unknown } {
  try {
    const found: unknown = JSON.parse(text);
    if (typeof found === "object" && found !== null) return found as { [component: string]: unknown };
    throw new Error("no object");
  } catch (cause) {
    throw new BlockscaleError(
      "format",
      {
        where: INDEX,
        expected: "a JSON object of components",
        got: (cause as Error).message,
        fix: "Fetch the file again.",
      },
      { cause },
    );
  }
}
