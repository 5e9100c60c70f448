import { BlockscaleError } from "../../tensor/errors.ts";
import type { Facts, Problem, ProblemKind } from "./protocol.ts";

/** An error of the page's own code. Its kind has a text in every language. */
export class PageError extends Error {
  override readonly name: string = "PageError";
  readonly kind: ProblemKind;
  readonly facts: Facts;

  constructor(kind: ProblemKind, message: string, options?: ErrorOptions & { readonly facts?: Facts }) {
    super(message, options);
    this.kind = kind;
    this.facts = options?.facts ?? {};
  }
}

/** Names of DOMExceptions that tell what happened. */
const KINDS: { readonly [name: string]: ProblemKind } = {
  QuotaExceededError: "space",
  // What WebKitGTK throws when a file of its private storage is opened for writing in place.
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
  const facts = error instanceof BlockscaleError ? { fault: { ...error.fault } } : undefined;
  for (let cause = error; cause instanceof Error || cause instanceof DOMException; cause = cause.cause) {
    if (cause instanceof PageError) return { kind: cause.kind, message: cause.message, facts: cause.facts };
    const kind = KINDS[cause.name];
    if (kind !== undefined) return { kind, message: messageOf(error), ...(facts && { facts }) };
  }
  if (error instanceof BlockscaleError) {
    if (/^https?:/.test(error.fault.where)) {
      const status = /^status (\d+)$/.exec(error.fault.got)?.[1];
      const kind = status === "401" || status === "403" ? "gated" : status === "404" ? "missing" : "network";
      return { kind, message: error.message, facts: { ...facts, place: error.fault.where } };
    }
    const { tensor, row, column } = error.fault;
    if (tensor !== undefined) {
      const place = row === undefined || column === undefined ? {} : { row, column };
      return { kind: "not-finite", message: error.message, facts: { ...facts, tensor, ...place } };
    }
    const kind =
      error.code === "io"
        ? "changed"
        : error.code === "format"
          ? "format"
          : error.code === "option"
            ? "pattern"
            : "other";
    return { kind, message: error.message, ...(facts && { facts }) };
  }
  return { kind: "other", message: messageOf(error) };
}

function messageOf(error: unknown): string {
  return error instanceof Error || error instanceof DOMException ? error.message : String(error);
}
