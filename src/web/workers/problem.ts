import { BlockscaleError } from "../../tensor/errors.ts";
import type { Problem, ProblemKind } from "./protocol.ts";

/** A failure of the page's own making, with a kind that has words in every language. */
export class PageError extends Error {
  override readonly name: string = "PageError";
  readonly kind: ProblemKind;

  constructor(kind: ProblemKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** Names of DOMExceptions that tell what happened. */
const KINDS: { readonly [name: string]: ProblemKind } = {
  QuotaExceededError: "space",
  // WebKitGTK, asked for a file of its private storage that can be written in place.
  NotSupportedError: "storage",
  NotReadableError: "changed",
  NotFoundError: "changed",
  NotAllowedError: "permission",
  NoModificationAllowedError: "permission",
  SecurityError: "permission",
  // What Firefox says when a file vanishes under a read; our own cancelling is a PageError.
  AbortError: "changed",
};

/** Puts any error into a form that crosses threads and can be translated. */
export function problemOf(error: unknown): Problem {
  for (let cause = error; cause instanceof Error || cause instanceof DOMException; cause = cause.cause) {
    if (cause instanceof PageError) return { kind: cause.kind, message: cause.message };
    const kind = KINDS[cause.name];
    if (kind !== undefined) return { kind, message: messageOf(error) };
  }
  if (error instanceof BlockscaleError) {
    if (/^https?:/.test(error.fault.where)) return { kind: "network", message: error.message };
    const kind = error.code === "io" ? "changed" : error.code === "format" ? "format" : "other";
    return { kind, message: error.message };
  }
  return { kind: "other", message: messageOf(error) };
}

function messageOf(error: unknown): string {
  return error instanceof Error || error instanceof DOMException ? error.message : String(error);
}
