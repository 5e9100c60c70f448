import { createInterface } from "node:readline";
import type { ChatMessage } from "../model/tokenizer.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import * as figures from "./figures.ts";
import { type SamplingFlags, samplingOf } from "./generate.ts";
import { openModelAt, precisionsNamed } from "./model-input.ts";

/**
 * `blockscale chat MODEL`: a conversation in the terminal. Ctrl-C ends an answer; at the prompt, the program.
 */
export async function chat(
  place: string,
  flags: SamplingFlags & { readonly system?: string },
  signal: AbortSignal,
): Promise<void> {
  const opened = await openModelAt(place, flags, signal);
  const { model } = opened;
  const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: "> " });
  const beginning: ChatMessage[] =
    flags.system === undefined ? [] : [{ role: "system", content: flags.system }];
  let messages: ChatMessage[] = [...beginning];
  let answering: AbortController | undefined;
  // The terminal is in raw mode: Ctrl-C is a key that only this interface sees.
  lines.on("SIGINT", () => {
    if (answering === undefined) lines.close();
    else answering.abort();
  });
  const answer = async (line: string): Promise<void> => {
    const asked: ChatMessage[] = [...messages, { role: "user", content: line }];
    const ids = model.tokenizer!.chat(asked);
    answering = new AbortController();
    let content = "";
    try {
      for await (const { text } of model.generate(ids, { ...samplingOf(flags), signal: answering.signal })) {
        content += text;
        // What a model says may move the cursor, and is shown as it is but for that.
        process.stdout.write(figures.lines(text));
      }
    } catch (error) {
      if (!answering.signal.aborted) {
        // A context that is full, say: the user can begin anew.
        if (!(error instanceof BlockscaleError && error.code === "option")) throw error;
        process.stderr.write(`${content === "" ? "" : "\n"}${error.message}\n/reset begins anew.\n`);
        return;
      }
    } finally {
      answering = undefined;
    }
    messages = [...asked, { role: "assistant", content }];
    process.stdout.write("\n");
  };
  try {
    refuseWithoutTokenizer(model.tokenizer !== null);
    // Without a template this says so before anything is asked.
    if (!model.tokenizer!.hasChat) model.tokenizer!.chat([]);
    process.stderr.write(`${opened.name}: ${precisionsNamed(model.precisions)}.\n`);
    process.stderr.write("/reset begins anew, /exit or Ctrl-D ends.\n");
    lines.prompt();
    for await (const line of lines) {
      if (line.trim() === "/exit") break;
      if (line.trim() === "/reset") messages = [...beginning];
      else if (line.trim() !== "") await answer(line);
      lines.prompt();
    }
  } finally {
    lines.close();
    await opened.close();
  }
}

function refuseWithoutTokenizer(hasTokenizer: boolean): void {
  if (hasTokenizer) return;
  throw new BlockscaleError("dialect", {
    where: "chat",
    expected: "tokenizer.json among the files of the model",
    got: "none",
    fix: "Fetch it from where the weights came from.",
  });
}
