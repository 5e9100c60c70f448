import { BlockscaleError } from "../tensor/errors.ts";

/** How often, and for how long, a request to a server is tried. */
export interface RetryOptions {
  readonly signal?: AbortSignal;
  /** Tries of one request before it counts as failed; 5 if left out. */
  readonly tries?: number;
  /** Milliseconds before the second try, doubled for each further one; 500 if left out. */
  readonly wait?: number;
  /** Milliseconds without an answer before a try counts as failed; 60,000 if left out. */
  readonly timeout?: number;
}

/** A failure that another try may cure. */
export class TransientError extends Error {}

/**
 * Tries a request until it succeeds, with twice the pause before each further try.
 * @param where what is asked for, for messages
 * @param request makes one try; everything that it throws but a BlockscaleError is tried again
 * @throws BlockscaleError `io`: no answer after several tries
 */
export async function attempt<T>(
  where: string,
  options: RetryOptions,
  request: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { tries = 5, wait = 500, timeout = 60_000 } = options;
  for (let n = 1; ; n++) {
    options.signal?.throwIfAborted();
    const limit = AbortSignal.timeout(timeout);
    try {
      return await request(options.signal === undefined ? limit : AbortSignal.any([limit, options.signal]));
    } catch (cause) {
      options.signal?.throwIfAborted();
      if (cause instanceof BlockscaleError) throw cause;
      if (n >= tries) throw noAnswer(where, n, cause);
    }
    await pause(wait * 2 ** (n - 1), options.signal);
  }
}

/** Waits; ends early when the signal is aborted. */
async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let wake = () => {};
  await new Promise<void>((resolve) => {
    wake = resolve;
    timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", wake);
  });
  clearTimeout(timer);
  signal?.removeEventListener("abort", wake);
}

function noAnswer(where: string, tries: number, cause: unknown): BlockscaleError {
  const got = `${describe(cause)}, ${tries} times`;
  return new BlockscaleError("io", { where, expected: "an answer", got, fix: "Try again later." }, { cause });
}

function describe(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  // fetch hides the reason, such as ECONNREFUSED, in the cause of its own error.
  const { cause: inner } = cause;
  return inner instanceof Error ? `${cause.message} (${inner.message})` : cause.message;
}
