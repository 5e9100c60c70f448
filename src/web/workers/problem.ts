import { BlockscaleError, type Fault } from "../../tensor/errors.ts";

/** What went wrong, in a form the page can put in the user's language. */
export interface Problem {
  readonly kind: ProblemKind;
  /** The full message, in English. */
  readonly message: string;
  /** Names and numbers for the text in the user's language. */
  readonly facts?: Facts;
}

/** Which of them there are depends on the kind of the problem. */
export interface Facts {
  readonly tensor?: string;
  readonly row?: number;
  readonly column?: number;
  /** The four parts of an error of the library, in English. */
  readonly fault?: Fault;
  /** What the user typed or chose, if that is the cause. */
  readonly place?: string;
  /** A format that a link names. */
  readonly format?: string;
}

export type ProblemKind =
  /** The disk or the quota is full. */
  | "space"
  /** This window gives pages no place for files, as private windows of WebKit. */
  | "storage"
  /** A file was changed, moved or removed while it was being read. */
  | "changed"
  /** The system took fewer bytes than it was given. */
  | "short-write"
  /** What was read back is not what was written. */
  | "verify"
  /** The browser or the user took the permission back. */
  | "permission"
  /** A server that does not answer, or not as it should. */
  | "network"
  /** A repository or file that wants a token. */
  | "gated"
  /** A repository or file that is not there. */
  | "missing"
  /** No address at all, or one that browsers do not open. */
  | "address"
  /** A link that asks for something that is not known, or not there. */
  | "link"
  | "cancelled"
  /** The output would replace what is being read. */
  | "same-file"
  /** A file that is not what it claims to be. */
  | "format"
  /** A tensor holds NaN or Inf, or values that become Inf: it can be kept, not converted. Facts name it. */
  | "not-finite"
  /** A pattern that is no pattern, or fits no tensor. */
  | "pattern"
  /** A worker died. */
  | "worker"
  | "other";

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
