import type { IncomingMessage } from "node:http";
import type { Model } from "../model/model.ts";
import type { GenerateOptions } from "../model/options.ts";
import type { ChatMessage } from "../model/tokenizer.ts";
import { BlockscaleError } from "../tensor/errors.ts";

// Requests of OpenAI's API: their bodies are checked here, and answered in server.ts.

/** The error for a request that cannot be answered: an HTTP status and a message. */
export class Refusal extends Error {
  readonly status: number;
  readonly param: string | null;

  constructor(status: number, message: string, param: string | null = null) {
    super(message);
    this.status = status;
    this.param = param;
  }
}

/** A JSON object. */
export type JsonObject = { readonly [key: string]: unknown };

/**
 * A model that is served by OpenAI's API: completions, chat completions,
 * embeddings and the list of models.
 */
export interface ServedModel {
  readonly model: Model;
  readonly name: string;
  /** Bytes of a request, at most. */
  readonly mostBytes: number;
  /** Tokens of an answer where a request does not say. */
  readonly maxTokens: number;
}

/** Options that are accepted only with the value that is their default. */
const FIXED: { readonly [name: string]: unknown } = {
  n: 1,
  best_of: 1,
  frequency_penalty: 0,
  presence_penalty: 0,
};

const UNSUPPORTED = ["tools", "functions", "response_format", "logit_bias", "logprobs", "suffix", "echo"];

/** The options of `generate` that a request sets. @throws Refusal an option that is not supported */
export function optionsOf(body: JsonObject, served: ServedModel): GenerateOptions {
  for (const [name, value] of Object.entries(FIXED)) {
    if (body[name] !== undefined && body[name] !== null && body[name] !== value)
      throw new Refusal(400, `${name} can only be ${String(value)} here.`, name);
  }
  for (const name of UNSUPPORTED) {
    const value = body[name];
    if (value === undefined || value === null || value === false) continue;
    if (name === "response_format" && (value as JsonObject).type === "text") continue;
    throw new Refusal(400, `${name} is not supported.`, name);
  }
  const number = (name: string): number | undefined => {
    const value = body[name];
    if (value === undefined || value === null) return undefined;
    if (typeof value === "number") return value;
    throw new Refusal(400, `${name} has to be a number.`, name);
  };
  const { stop } = body;
  if (stop !== undefined && stop !== null && typeof stop !== "string" && !isTexts(stop))
    throw new Refusal(400, "stop has to be a text, or a list of texts.", "stop");
  return {
    maxTokens: number("max_completion_tokens") ?? number("max_tokens") ?? served.maxTokens,
    temperature: number("temperature"),
    topP: number("top_p"),
    topK: number("top_k"),
    minP: number("min_p"),
    seed: number("seed"),
    stop: (stop || undefined) as string | string[] | undefined,
  };
}

/** What a request calls an option of `generate`. */
function fieldOf(option: string, body: JsonObject): string {
  if (option === "maxTokens")
    return (body.max_completion_tokens ?? null) === null ? "max_tokens" : "max_completion_tokens";
  return { topP: "top_p", topK: "top_k", minP: "min_p" }[option] ?? option;
}

/** An error of the model in the words of the request that it is about; others as they are. */
export function refusalOf(error: unknown, body: JsonObject): unknown {
  if (!(error instanceof BlockscaleError && (error.code === "option" || error.code === "dialect")))
    return error;
  const { where, expected, got } = error.fault;
  const option = /^generate: ([a-zA-Z]+)$/.exec(where)?.[1];
  if (option === undefined)
    return new Refusal(400, error.message.replace("maxTokens", fieldOf("maxTokens", body)));
  const field = fieldOf(option, body);
  return new Refusal(400, `${field} has to be ${expected}, and not ${got}.`, field);
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === "string");
}

function isIds(value: unknown): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === "number");
}

/** The tokens of a chat, by the template of the model. @throws Refusal */
export function chatPrompt({ model }: ServedModel, { messages }: JsonObject): Int32Array {
  if (!Array.isArray(messages) || messages.length === 0)
    throw new Refusal(400, "messages has to be a list of { role, content }.", "messages");
  if (model.tokenizer === null) throw new Refusal(400, "This model has no tokenizer.");
  return model.tokenizer.chat(messages.map(messageOf));
}

/** The text of a message. Content may come in parts, of which only texts are taken. */
function messageOf(message: unknown, i: number): ChatMessage {
  const { role, content } = (message ?? {}) as JsonObject;
  const where = `messages[${i}]`;
  if (typeof role !== "string") throw new Refusal(400, `${where}.role has to be a text.`, "messages");
  if (typeof content === "string") return { role, content };
  const parts = Array.isArray(content) ? (content as JsonObject[]) : null;
  if (parts === null || !parts.every((part) => part?.type === "text" && typeof part.text === "string"))
    throw new Refusal(400, `${where}.content has to be a text, or parts that are texts.`, "messages");
  return { role, content: parts.map(({ text }) => text).join("") };
}

/** The tokens of a prompt: one text, or ids. @throws Refusal */
export function textPrompt({ model }: ServedModel, { prompt }: JsonObject): Int32Array {
  if (isIds(prompt)) return Int32Array.from(prompt);
  const text = isTexts(prompt) && prompt.length === 1 ? prompt[0] : prompt;
  if (typeof text !== "string")
    throw new Refusal(400, "prompt has to be one text, or the ids of tokens.", "prompt");
  if (model.tokenizer === null)
    throw new Refusal(400, "This model has no tokenizer: send the ids of tokens.", "prompt");
  return model.tokenizer.encode(text);
}

/** The texts of a request for embeddings, or the ids of their tokens. @throws Refusal */
export function inputsOf(input: unknown): (string | number[])[] {
  if (typeof input === "string") return [input];
  if (isIds(input)) return [input];
  if (Array.isArray(input) && input.length > 0 && (isTexts(input) || input.every(isIds)))
    return input as string[];
  throw new Refusal(400, "input has to be a text, a list of texts, or ids of tokens.", "input");
}

/**
 * The JSON object in the body of a request.
 * @param most bytes
 * @throws Refusal a larger body, or anything but a JSON object
 */
export async function bodyOf(request: IncomingMessage, most: number): Promise<JsonObject> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > most) throw new Refusal(413, `A request has at most ${most} bytes.`);
    chunks.push(chunk as Buffer);
  }
  try {
    const found: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    if (typeof found === "object" && found !== null && !Array.isArray(found)) return found as JsonObject;
  } catch {
    // The error is thrown below.
  }
  throw new Refusal(400, "The body has to be a JSON object.");
}
