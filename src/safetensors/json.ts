/** Thrown by {@link JsonReader}: what is wrong, and at which character. */
export class JsonError extends Error {
  override readonly name: string = "JsonError";
  readonly at: number;

  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}

/** Containers may nest this deep, as in serde_json, which the reference reader uses. */
const MAX_DEPTH = 127;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LONE_SURROGATE = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/;
const PYTHON_NUMBER = /-?Infinity|NaN/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;

/**
 * Reads JSON from left to right, once, without building a tree. Where `JSON.parse` rounds
 * large integers and forgets repeated keys, this hands both to the caller; nesting is bounded,
 * and `__proto__` is a key like any other.
 */
export class JsonReader {
  readonly text: string;
  at = 0;
  private depth = 0;
  private readonly allowsPython: boolean;

  /**
   * @param options.python whether numbers may be `Infinity`, `-Infinity` and
   * `NaN`, as Python's json module writes them
   */
  constructor(text: string, options: { readonly python?: boolean } = {}) {
    this.text = text;
    this.allowsPython = options.python === true;
  }

  /** Reads `{...}`; `member` must read exactly the value of its key, which starts at `start`. */
  object(member: (key: string, start: number) => void): void {
    this.open("{", "an object");
    if (!this.take("}")) {
      do {
        this.space();
        const start = this.at;
        const key = this.string();
        this.space();
        if (!this.take(":")) this.fail("expected ':'");
        this.space();
        member(key, start);
        this.space();
      } while (this.take(","));
      if (!this.take("}")) this.fail("expected ',' or '}'");
    }
    this.depth--;
  }

  /** Reads `[...]`; `item` must read exactly one value. */
  array(item: (index: number) => void): void {
    this.open("[", "an array");
    if (!this.take("]")) {
      let index = 0;
      do {
        this.space();
        item(index++);
        this.space();
      } while (this.take(","));
      if (!this.take("]")) this.fail("expected ',' or ']'");
    }
    this.depth--;
  }

  string(): string {
    const { text } = this;
    const start = this.at;
    if (text.charCodeAt(start) !== QUOTE) this.fail("expected a string");
    let at = start + 1;
    let escaped = false;
    for (;;) {
      const c = text.charCodeAt(at);
      if (c === QUOTE) break;
      if (c === BACKSLASH) {
        escaped = true;
        at++;
      } else if (!(c >= 0x20)) {
        this.at = at;
        this.fail(at >= text.length ? "a string that does not end" : "a control character in a string");
      }
      at++;
    }
    this.at = at + 1;
    return escaped ? this.unescape(start) : text.slice(start + 1, at);
  }

  /** A whole number written with digits alone; one beyond 2^53 - 1 fails instead of being rounded. */
  count(): number {
    const start = this.at;
    const digits = this.number();
    const value = Number(digits);
    if (!/^[0-9]+$/.test(digits) || !Number.isSafeInteger(value)) {
      this.at = start;
      this.fail(`expected a whole number from 0 to 2^53 - 1, found ${digits.slice(0, 40)}`);
    }
    return value;
  }

  /** Whether the next value is `null`, which is then read. */
  null(): boolean {
    if (!this.text.startsWith("null", this.at)) return false;
    this.at += 4;
    return true;
  }

  /** Reads and forgets one value of any kind. */
  skip(): void {
    const c = this.text[this.at];
    if (c === "{") this.object(() => this.skip());
    else if (c === "[") this.array(() => this.skip());
    else if (c === '"') this.string();
    else if (this.text.startsWith("true", this.at)) this.at += 4;
    else if (this.text.startsWith("false", this.at)) this.at += 5;
    else if (!this.null() && !(this.allowsPython && this.pythonNumber())) {
      // Python reads 1e400 as Infinity; serde_json, which reads headers, refuses it.
      const isInRange = Number.isFinite(Number(this.number()));
      if (!isInRange && !this.allowsPython) this.fail("a number out of range");
    }
  }

  /** Reads and forgets the whole text. */
  whole(): void {
    this.space();
    this.skip();
    this.end();
  }

  /** Skips white space. */
  space(): void {
    const { text } = this;
    for (;;) {
      const c = text.charCodeAt(this.at);
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return;
      this.at++;
    }
  }

  /** Nothing but white space may be left. */
  end(): void {
    this.space();
    if (this.at < this.text.length) this.fail("more text after the end");
  }

  fail(message: string): never {
    throw new JsonError(message, this.at);
  }

  private open(bracket: string, what: string): void {
    if (!this.take(bracket)) this.fail(`expected ${what}`);
    if (++this.depth > MAX_DEPTH) this.fail(`nested deeper than ${MAX_DEPTH}`);
    this.space();
  }

  private take(char: string): boolean {
    if (this.text[this.at] !== char) return false;
    this.at++;
    return true;
  }

  private number(): string {
    NUMBER.lastIndex = this.at;
    const digits = NUMBER.exec(this.text)?.[0];
    if (digits === undefined) this.fail("expected a value");
    this.at += digits.length;
    return digits;
  }

  private pythonNumber(): boolean {
    PYTHON_NUMBER.lastIndex = this.at;
    const found = PYTHON_NUMBER.exec(this.text)?.[0];
    if (found === undefined) return false;
    this.at += found.length;
    return true;
  }

  private unescape(start: number): string {
    let value: string;
    try {
      value = JSON.parse(this.text.slice(start, this.at));
    } catch {
      this.at = start;
      this.fail("a string with a wrong escape");
    }
    if (LONE_SURROGATE.test(value)) {
      this.at = start;
      this.fail("a string with half a surrogate pair");
    }
    return value;
  }
}
