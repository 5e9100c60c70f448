import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import {
  bodyOf,
  chatPrompt,
  inputsOf,
  type JsonObject,
  optionsOf,
  Refusal,
  refusalOf,
  type ServedModel,
  textPrompt,
} from "./server-requests.ts";

/** A server for one model. Requests are answered one after another: a model does one thing at a time. */
export function serverOf(served: ServedModel): Server {
  return createServer((request, response) => {
    answer(served, request, response).catch((error: unknown) => {
      if (response.headersSent || response.destroyed) {
        // A stream that has begun can only be ended; an event says why.
        if (!response.destroyed) response.end(`data: ${JSON.stringify(errorOf(error).body)}\n\n`);
        return;
      }
      const { status, body } = errorOf(error);
      // Otherwise the unread rest of the body would be taken for the next request.
      if (!request.complete) response.setHeader("connection", "close");
      send(response, status, body);
    });
  });
}

function errorOf(error: unknown): { status: number; body: unknown } {
  const status = error instanceof Refusal ? error.status : 500;
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

async function answer(
  served: ServedModel,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { pathname } = new URL(request.url ?? "/", "http://localhost");
  if (pathname === "/v1/models" || pathname.startsWith("/v1/models/")) {
    checkMethod(request, "GET");
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
  checkMethod(request, "POST");
  const body = await bodyOf(request, served.mostBytes);
  const controller = new AbortController();
  // A client that has disconnected needs no answer.
  response.on("close", () => controller.abort());
  try {
    await handler(served, body, response, controller.signal);
  } catch (error) {
    throw refusalOf(error, body);
  }
}

function checkMethod({ method }: IncomingMessage, expected: string): void {
  if (method !== expected) throw new Refusal(405, `This path takes ${expected}, and not ${method}.`);
}

type Handler = (
  served: ServedModel,
  body: JsonObject,
  response: ServerResponse,
  signal: AbortSignal,
) => Promise<void>;

const HANDLERS: { readonly [path: string]: Handler } = {
  "/v1/chat/completions": (served, body, response, signal) =>
    complete(served, body, response, signal, chatPrompt(served, body), "chat"),
  "/v1/completions": (served, body, response, signal) =>
    complete(served, body, response, signal, textPrompt(served, body), "text"),
  "/v1/embeddings": embeddings,
};

type Kind = "chat" | "text";

async function complete(
  served: ServedModel,
  body: JsonObject,
  response: ServerResponse,
  signal: AbortSignal,
  prompt: Int32Array,
  kind: Kind,
): Promise<void> {
  const options = optionsOf(body, served);
  const isStream = body.stream === true;
  const base = {
    id: `${kind === "chat" ? "chatcmpl" : "cmpl"}-${Math.random().toString(36).slice(2)}`,
    object: kind === "chat" ? (isStream ? "chat.completion.chunk" : "chat.completion") : "text_completion",
    created: Math.floor(Date.now() / 1000),
    model: served.name,
  };
  const write = (record: unknown) => response.write(`data: ${JSON.stringify(record)}\n\n`);
  let text = "";
  let count = 0;
  let isBegun = false;
  const begin = () => {
    isBegun = true;
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
    if (kind === "chat") write({ ...base, choices: [pieceOf(kind, "", null, true)] });
  };
  for await (const token of served.model.generate(prompt, { ...options, signal })) {
    if (token.id >= 0) count++;
    text += token.text;
    if (!isStream) continue;
    // The first token shows that the request is valid: before it, an error status could be sent.
    if (!isBegun) begin();
    if (token.text !== "") write({ ...base, choices: [pieceOf(kind, token.text, null)] });
  }
  const reason = count >= options.maxTokens! ? "length" : "stop";
  const usage = usageOf(prompt.length, count);
  if (!isStream) {
    send(response, 200, { ...base, choices: [answerOf(kind, text, reason)], usage });
    return;
  }
  if (!isBegun) begin();
  write({ ...base, choices: [pieceOf(kind, "", reason)] });
  const { include_usage: isCounted } = (body.stream_options ?? {}) as JsonObject;
  if (isCounted === true) write({ ...base, choices: [], usage });
  response.end("data: [DONE]\n\n");
}

/** The whole answer, as an entry of `choices`. */
function answerOf(kind: Kind, text: string, reason: string): object {
  if (kind === "text") return textChoice(text, reason);
  const message = { role: "assistant", content: text, refusal: null };
  return { index: 0, message, finish_reason: reason, logprobs: null };
}

/** A piece of a streamed answer, as an entry of `choices`. The first one of a chat says who speaks. */
function pieceOf(kind: Kind, text: string, reason: string | null, isFirst = false): object {
  if (kind === "text") return textChoice(text, reason);
  const delta = { ...(isFirst ? { role: "assistant" } : {}), ...(text === "" ? {} : { content: text }) };
  return { index: 0, delta, finish_reason: reason };
}

function textChoice(text: string, reason: string | null): object {
  return { index: 0, text, finish_reason: reason, logprobs: null };
}

function usageOf(prompt: number, completion: number): object {
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
  };
}

async function embeddings(
  served: ServedModel,
  body: JsonObject,
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
