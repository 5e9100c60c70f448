import type { Tokenizer } from "./tokenizer.ts";

/**
 * Tokens as they come, as text: characters that take several tokens are held back until they are
 * whole, and so is what may become a stop text.
 */
export class TextStream {
  readonly #tokenizer: Tokenizer;
  readonly #stops: readonly string[];
  /** The tokens that are decoded together: some earlier ones as context, and the new ones. */
  #ids: number[] = [];
  /** How much of their text has been taken. */
  #taken = 0;
  /** Text that may be the beginning of a stop text. */
  #held = "";
  isStopped = false;

  constructor(tokenizer: Tokenizer, stops: readonly string[]) {
    this.#tokenizer = tokenizer;
    this.#stops = stops.filter((stop) => stop !== "");
  }

  /** The text that a token adds. */
  push(id: number): string {
    this.#ids.push(id);
    const text = this.#tokenizer.decode(this.#ids);
    // The replacement character stands for the bytes of a character that is not whole.
    if (text.endsWith("\ufffd")) return "";
    const fresh = text.slice(this.#taken);
    this.#taken = text.length;
    // Decoders join tokens by what stands before them: some stay as context for the next ones.
    if (this.#ids.length > CONTEXT_TOKENS) {
      this.#ids = this.#ids.slice(-CONTEXT_TOKENS / 2);
      this.#taken = this.#tokenizer.decode(this.#ids).length;
    }
    return this.#release(fresh);
  }

  /** Ends the stream, and returns the text that is left. */
  end(): string {
    if (this.isStopped) return "";
    const text = this.#tokenizer.decode(this.#ids).slice(this.#taken);
    const rest = this.#held + text;
    this.#held = "";
    return rest;
  }

  #release(fresh: string): string {
    const text = this.#held + fresh;
    const found = this.#stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
    if (found.length > 0) {
      this.isStopped = true;
      this.#held = "";
      return text.slice(0, Math.min(...found));
    }
    let keep = 0;
    for (const stop of this.#stops) {
      for (let n = Math.min(stop.length - 1, text.length); n > keep; n--)
        if (text.endsWith(stop.slice(0, n))) keep = n;
    }
    this.#held = text.slice(text.length - keep);
    return text.slice(0, text.length - keep);
  }
}

/** Tokens that are decoded again for the next one, at most. */
const CONTEXT_TOKENS = 16;
