import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Model } from "../model/model.ts";
import type { GenerateOptions } from "../model/options.ts";
import type { ChatMessage } from "../model/tokenizer.ts";
import { BlockscaleError } from "../tensor/errors.ts";

/** The error for a request that cannot be answered: an HTTP status and a message. */
class Refusal extends Error {
  readonly status: number;
  readonly param: string | null;

  constructor(status: number, message: string, param: string | null = null) {
    super(message);
    this.status = status;
    this.param = param;
  }
}

type Json = { readonly [key: string]: unknown };

/**
 * A model behind the parts of OpenAI's API that concern one: completions, chat
 * completions, embeddings and the list of models.
 */
export interface Served {
  readonly model: Model;
  readonly name: string;
  /** Bytes of a request, at most. */
  readonly mostBytes: number;
  /** Tokens of an answer where a request does not say. */
  readonly maxTokens: number;
}

/** A server for one model. Requests are answered one after another: a model does one thing at a time. */
export function serverOf(served: Served): Server {
  return createServer((request, response) => {
    answer(served, request, response).catch((error: unknown) => {
      if (response.headersSent || response.destroyed) {
        // A stream that has begun can only be ended; an event says why.
        if (!response.destroyed) response.end(`data: ${JSON.stringify(errorOf(error).body)}\n\n`);
        return;
      }
      const { status, body } = errorOf(error);
      // What is still on its way would be taken for the next request.
      if (!request.complete) response.setHeader("connection", "close");
      send(response, status, body);
    });
  });
}

function errorOf(error: unknown): { status: number; body: unknown } {
  const isOption = error instanceof BlockscaleError && (error.code === "option" || error.code === "dialect");
  const status = error instanceof Refusal ? error.status : isOption ? 400 : 500;
  const message = error instanceof Error ? error.message : String(error);
  const type = status < 500 ? "invalid_request_error" : "server_error";
  const param = error instanceof Refusal ? error.param : null;
  return { status, body: { error: { message, type, param, code: null } } };
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}

async function answer(served: Served, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname } = new URL(request.url ?? "/", "http://localhost");
  if (pathname === "/v1/models" || pathname.startsWith("/v1/models/")) {
    refuseUnless(request, "GET");
    const entry = { id: served.name, object: "model", created: 0, owned_by: "blockscale" };
    send(response, 200, pathname === "/v1/models" ? { object: "list", data: [entry] } : entry);
    return;
  }
  const handler = HANDLERS[pathname];
  if (handler === undefined) {
    throw new Refusal(
      404,
      `No such path: ${pathname}. There are /v1/models and ${Object.keys(HANDLERS).join(", ")}.`,
    );
  }
  refuseUnless(request, "POST");
  const body = await bodyOf(request, served.mostBytes);
  const controller = new AbortController();
  // Whoever hangs up waits for nothing.
  response.on("close", () => controller.abort());
  await handler(served, body, response, controller.signal);
}

function refuseUnless({ method }: IncomingMessage, expected: string): void {
  if (method !== expected) throw new Refusal(405, `This path takes ${expected}, and not ${method}.`);
}

async function bodyOf(request: IncomingMessage, most: number): Promise<Json> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > most) throw new Refusal(413, `A request has at most ${most} bytes.`);
    chunks.push(chunk as Buffer);
  }
  try {
    const found: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    if (typeof found === "object" && found !== null && !Array.isArray(found)) return found as Json;
  } catch {
    // Said below.
  }
  throw new Refusal(400, "The body has to be a JSON object.");
}

type Handler = (served: Served, body: Json, response: ServerResponse, signal: AbortSignal) => Promise<void>;

const HANDLERS: { readonly [path: string]: Handler } = {
  "/v1/chat/completions": (served, body, response, signal) =>
    complete(served, body, response, signal, chatPrompt(served, body), "chat"),
  "/v1/completions": (served, body, response, signal) =>
    complete(served, body, response, signal, textPrompt(served, body), "text"),
  "/v1/embeddings": embeddings,
};

/** Options that are taken only at the value that changes nothing. */
const FIXED: { readonly [name: string]: unknown } = {
  n: 1,
  best_of: 1,
  frequency_penalty: 0,
  presence_penalty: 0,
};

const UNKNOWN = ["tools", "functions", "response_format", "logit_bias", "logprobs", "suffix", "echo"];

function optionsOf(body: Json, served: Served): GenerateOptions {
  for (const [name, value] of Object.entries(FIXED)) {
    if (body[name] !== undefined && body[name] !== null && body[name] !== value)
      throw new Refusal(400, `${name} can only be ${String(value)} here.`, name);
  }
  for (const name of UNKNOWN) {
    const value = body[name];
    if (value === undefined || value === null || value === false) continue;
    if (name === "response_format" && (value as Json).type === "text") continue;
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

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === "string");
}

function isIds(value: unknown): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === "number");
}

function chatPrompt({ model }: Served, { messages }: Json): Int32Array {
  if (!Array.isArray(messages) || messages.length === 0)
    throw new Refusal(400, "messages has to be a list of { role, content }.", "messages");
  if (model.tokenizer === null) throw new Refusal(400, "This model has no tokenizer.");
  return model.tokenizer.chat(messages.map(messageOf));
}

/** The text of a message. Content may come in parts, of which only texts are taken. */
function messageOf(message: unknown, i: number): ChatMessage {
  const { role, content } = (message ?? {}) as Json;
  const where = `messages[${i}]`;
  if (typeof role !== "string") throw new Refusal(400, `${where}.role has to be a text.`, "messages");
  if (typeof content === "string") return { role, content };
  const parts = Array.isArray(content) ? (content as Json[]) : null;
  if (parts === null || !parts.every((part) => part?.type === "text" && typeof part.text === "string"))
    throw new Refusal(400, `${where}.content has to be a text, or parts that are texts.`, "messages");
  return { role, content: parts.map(({ text }) => text).join("") };
}

function textPrompt({ model }: Served, { prompt }: Json): Int32Array {
  if (isIds(prompt)) return Int32Array.from(prompt);
  const text = isTexts(prompt) && prompt.length === 1 ? prompt[0] : prompt;
  if (typeof text !== "string")
    throw new Refusal(400, "prompt has to be one text, or the ids of tokens.", "prompt");
  if (model.tokenizer === null)
    throw new Refusal(400, "This model has no tokenizer: send the ids of tokens.", "prompt");
  return model.tokenizer.encode(text);
}

async function complete(
  served: Served,
  body: Json,
  response: ServerResponse,
  signal: AbortSignal,
  prompt: Int32Array,
  kind: "chat" | "text",
): Promise<void> {
  const options = optionsOf(body, served);
  const isStream = body.stream === true;
  const base = {
    id: `${kind === "chat" ? "chatcmpl" : "cmpl"}-${Math.random().toString(36).slice(2)}`,
    object: kind === "chat" ? (isStream ? "chat.completion.chunk" : "chat.completion") : "text_completion",
    created: Math.floor(Date.now() / 1000),
    model: served.name,
  };
  const usage = (completion: number) => ({
    prompt_tokens: prompt.length,
    completion_tokens: completion,
    total_tokens: prompt.length + completion,
  });
  const choice = (text: string, reason: string | null, isFirst = false) =>
    kind === "text"
      ? { index: 0, text, finish_reason: reason, logprobs: null }
      : isStream
        ? {
            index: 0,
            delta: { ...(isFirst ? { role: "assistant" } : {}), ...(text === "" ? {} : { content: text }) },
            finish_reason: reason,
          }
        : {
            index: 0,
            message: { role: "assistant", content: text, refusal: null },
            finish_reason: reason,
            logprobs: null,
          };
  const write = (record: unknown) => response.write(`data: ${JSON.stringify(record)}\n\n`);
  let text = "";
  let count = 0;
  let isBegun = false;
  const begin = () => {
    isBegun = true;
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
    if (kind === "chat") write({ ...base, choices: [choice("", null, true)] });
  };
  for await (const token of served.model.generate(prompt, { ...options, signal })) {
    if (token.id >= 0) count++;
    text += token.text;
    if (!isStream) continue;
    // Only now is it known that nothing of the request is wrong.
    if (!isBegun) begin();
    if (token.text !== "") write({ ...base, choices: [choice(token.text, null)] });
  }
  const reason = count >= options.maxTokens! ? "length" : "stop";
  if (!isStream) {
    send(response, 200, { ...base, choices: [choice(text, reason)], usage: usage(count) });
    return;
  }
  if (!isBegun) begin();
  write({ ...base, choices: [choice("", reason)] });
  const { include_usage: isCounted } = (body.stream_options ?? {}) as Json;
  if (isCounted === true) write({ ...base, choices: [], usage: usage(count) });
  response.end("data: [DONE]\n\n");
}

async function embeddings(
  served: Served,
  body: Json,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const { input, encoding_format: format = "float", dimensions } = body;
  if (format !== "float" && format !== "base64")
    throw new Refusal(400, 'encoding_format has to be "float" or "base64".', "encoding_format");
  if (dimensions !== undefined && dimensions !== served.model.config.hidden)
    throw new Refusal(400, `dimensions can only be ${served.model.config.hidden} here.`, "dimensions");
  const inputs = inputsOf(input);
  const vectors = await served.model.embed(inputs, { signal });
  const tokens = inputs.reduce<number>(
    (sum, one) => sum + (typeof one === "string" ? served.model.tokenizer!.encode(one).length : one.length),
    0,
  );
  send(response, 200, {
    object: "list",
    model: served.name,
    data: vectors.map((vector, index) => ({
      object: "embedding",
      index,
      embedding:
        format === "float"
          ? Array.from(vector)
          : Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString("base64"),
    })),
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  });
}

function inputsOf(input: unknown): (string | number[])[] {
  if (typeof input === "string") return [input];
  if (isIds(input)) return [input];
  if (Array.isArray(input) && input.length > 0 && (isTexts(input) || input.every(isIds)))
    return input as string[];
  throw new Refusal(400, "input has to be a text, a list of texts, or ids of tokens.", "input");
}
