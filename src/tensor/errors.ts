/**
 * What went wrong, as a word that code can test:
 * - `shape`: a shape, block or length that does not fit
 * - `option`: an argument or option outside its allowed values
 * - `buffer`: a typed array that cannot be used (detached, resizable, too short, wrong type)
 * - `memory`: WebAssembly memory could not be had
 * - `wasm`: WebAssembly is refused, or the given binary is not ours
 * - `format`: a file that is not in the file format it should be in: safetensors, JSON, a tokenizer's
 * - `dialect`: a checkpoint whose scales cannot be made sense of
 * - `io`: reading or writing failed
 * - `internal`: a broken promise of our own; please report it
 */
export type ErrorCode =
  | "shape"
  | "option"
  | "buffer"
  | "memory"
  | "wasm"
  | "format"
  | "dialect"
  | "io"
  | "internal";

/** The four parts of every message: where it happened, what was expected, what was found, what to do. */
export interface Fault {
  /** The function, file or tensor at fault: `quantize: shape`. */
  readonly where: string;
  readonly expected: string;
  readonly got: string;
  /** What the caller can do about it. */
  readonly fix: string;
  /**
   * The tensor whose values are at fault, where the rest would go through
   * without it; and the row and column of the first value of the block at fault.
   */
  readonly tensor?: string;
  readonly row?: number;
  readonly column?: number;
}

/** The only error class this package throws on purpose. */
export class BlockscaleError extends Error {
  override readonly name: string = "BlockscaleError";
  readonly code: ErrorCode;
  readonly fault: Fault;

  constructor(code: ErrorCode, fault: Fault, options?: ErrorOptions) {
    super(`${fault.where}: expected ${fault.expected}, got ${fault.got}. ${fault.fix}`, options);
    this.code = code;
    this.fault = fault;
  }
}

/** What was given where a word or a number belongs, for messages: of an object its class alone. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  return Object(value) === value ? Object.prototype.toString.call(value).slice(8, -1) : String(value);
}
