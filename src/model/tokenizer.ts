import { Template } from "@huggingface/jinja";
import { Tokenizer as HubTokenizer } from "@huggingface/tokenizers";
import { readText, type Source } from "../io/source.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { type Json, readJson } from "./json.ts";

/** One turn of a conversation. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

/** Texts to tokens and back, as the files of the model say. */
export interface Tokenizer {
  /** Tokens of a text; with the special ones that the model expects around it, unless told otherwise. */
  encode(text: string, options?: { readonly special?: boolean }): Int32Array;
  /** The text of tokens; without special ones, unless told otherwise. */
  decode(ids: ArrayLike<number>, options?: { readonly special?: boolean }): string;
  /**
   * Tokens of a conversation in the model's own form, up to where its answer begins.
   * @throws BlockscaleError `dialect`: the model has no chat template, or it refuses these messages
   */
  chat(messages: readonly ChatMessage[], options?: { readonly [name: string]: unknown }): Int32Array;
  /** Whether the files hold a chat template. */
  readonly hasChat: boolean;
  /** One more than its largest id. */
  readonly vocabulary: number;
}

/**
 * The tokenizer of a model's files: tokenizer.json, with tokenizer_config.json and chat_template.jinja where
 * there are any. `null` where there is none.
 * @throws BlockscaleError `format`: a file that is damaged
 */
export async function openTokenizer(files: ReadonlyMap<string, Source>): Promise<Tokenizer | null> {
  const source = files.get("tokenizer.json");
  if (source === undefined) return null;
  const content = (await readJson("tokenizer.json", source)) as Json;
  const settings = files.get("tokenizer_config.json");
  const config = settings === undefined ? {} : ((await readJson("tokenizer_config.json", settings)) as Json);
  const template = files.get("chat_template.jinja");
  const text = template === undefined ? templateIn(config) : await readText("chat_template.jinja", template);
  try {
    return new FileTokenizer(new HubTokenizer(content, config), config, text);
  } catch (cause) {
    throw damaged("tokenizer.json", cause);
  }
}

function damaged(where: string, cause: unknown): BlockscaleError {
  return new BlockscaleError(
    "format",
    {
      where,
      expected: "a tokenizer in the form of the tokenizers library",
      got: cause instanceof Error ? cause.message : String(cause),
      fix: "Fetch the file again.",
    },
    { cause },
  );
}

/** The chat template of tokenizer_config.json: a text, or several with names. */
function templateIn({ chat_template: found }: Json): string | null {
  if (typeof found === "string") return found;
  if (!Array.isArray(found)) return null;
  const named = found as { name?: unknown; template?: unknown }[];
  const one = named.find(({ name }) => name === "default") ?? named[0];
  return typeof one?.template === "string" ? one.template : null;
}

class FileTokenizer implements Tokenizer {
  readonly #tokenizer: HubTokenizer;
  readonly #config: Json;
  readonly #text: string | null;
  #template: Template | undefined;

  constructor(tokenizer: HubTokenizer, config: Json, template: string | null) {
    this.#tokenizer = tokenizer;
    this.#config = config;
    this.#text = template;
  }

  get hasChat(): boolean {
    return this.#text !== null;
  }

  get vocabulary(): number {
    let most = -1;
    for (const id of this.#tokenizer.get_vocab(true).values()) most = Math.max(most, id);
    return most + 1;
  }

  encode(text: string, { special = true }: { readonly special?: boolean } = {}): Int32Array {
    return Int32Array.from(this.#tokenizer.encode(text, { add_special_tokens: special }).ids);
  }

  decode(ids: ArrayLike<number>, { special = false }: { readonly special?: boolean } = {}): string {
    return this.#tokenizer.decode(Array.from(ids), { skip_special_tokens: !special });
  }

  chat(messages: readonly ChatMessage[], options: { readonly [name: string]: unknown } = {}): Int32Array {
    if (this.#text === null) {
      throw new BlockscaleError("dialect", {
        where: "chat",
        expected: "a chat template in tokenizer_config.json or chat_template.jinja",
        got: "none",
        fix: "This model completes texts: use generate, or fetch its instruct variant.",
      });
    }
    try {
      this.#template ??= new Template(this.#text);
      const text = this.#template.render({
        messages,
        add_generation_prompt: true,
        ...this.#specialTokens(),
        ...options,
      });
      return this.encode(text, { special: false });
    } catch (cause) {
      throw new BlockscaleError(
        "dialect",
        {
          where: "chat",
          expected: "messages that the model's chat template takes",
          got: cause instanceof Error ? cause.message : String(cause),
          fix: "Most take a system message, then user and assistant in turn.",
        },
        { cause },
      );
    }
  }

  /** bos_token and its kind, which templates ask for by these names. */
  #specialTokens(): { [name: string]: string } {
    const tokens: { [name: string]: string } = {};
    for (const [name, value] of Object.entries(this.#config)) {
      if (!name.endsWith("_token")) continue;
      const content = typeof value === "string" ? value : (value as Json | null)?.content;
      if (typeof content === "string") tokens[name] = content;
    }
    return tokens;
  }
}
