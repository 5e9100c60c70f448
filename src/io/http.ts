import { BlockscaleError } from "../tensor/errors.ts";
import { attempt, Passing, type RetryOptions } from "./retry.ts";
import type { Source } from "./source.ts";

/** A file on a web server that answers range requests. */
export interface UrlSource extends Source {
  readonly url: string;
  /** The server's name for these very contents (ETag); `null` where it gives none. */
  readonly tag: string | null;
}

export interface UrlOptions extends RetryOptions {
  /** `fetch` if left out. */
  readonly fetch?: typeof globalThis.fetch;
  /** Such as an Authorization. They are sent to the server asked for, never on to another one. */
  readonly headers?: { readonly [name: string]: string };
}

/**
 * Opens a file by its URL. One byte is asked for, not HEAD: some servers compress answers to HEAD and lose the length.
 * @throws BlockscaleError `io`: no such file, no range support, or no answer after several tries
 */
export async function openUrl(url: string, options: UrlOptions = {}): Promise<UrlSource> {
  const { size, tag } = await attempt(url, options, (signal) => probe(url, options, signal));
  return {
    url,
    size,
    tag,
    slice: (start, end) => ({
      arrayBuffer: () =>
        end <= start
          ? Promise.resolve(new ArrayBuffer(0))
          : attempt(url, options, (signal) => fetchRange(url, options, signal, { start, end, size, tag })),
    }),
  };
}

async function send(url: string, options: UrlOptions, signal: AbortSignal, range: string): Promise<Response> {
  const response = await (options.fetch ?? fetch)(url, {
    headers: { ...options.headers, Range: range },
    signal,
  });
  if (response.status === 206) return response;
  await response.body?.cancel();
  const { status } = response;
  if (status === 200) {
    throw fault(
      url,
      "a server that answers range requests",
      "one that sends whole files",
      "Download the file first.",
    );
  }
  if (status === 408 || status === 429 || status >= 500) throw new Passing(`status ${status}`);
  const fix =
    status === 401 || status === 403 ? "Check that you may read it, and pass a token." : "Check the address.";
  throw fault(url, "the file", `status ${status}`, fix);
}

async function probe(url: string, options: UrlOptions, signal: AbortSignal) {
  const response = await send(url, options, signal, "bytes=0-0");
  const range = contentRange(response);
  if (range === null || range.start !== 0 || range.end !== 1) {
    await response.body?.cancel();
    throw new Passing(`Content-Range ${response.headers.get("content-range")} for bytes 0-0`);
  }
  await bodyOf(response, 1);
  return { size: range.size, tag: response.headers.get("etag") };
}

interface Range {
  readonly start: number;
  readonly end: number;
  readonly size: number;
}

async function fetchRange(
  url: string,
  options: UrlOptions,
  signal: AbortSignal,
  { start, end, size, tag }: Range & { readonly tag: string | null },
): Promise<ArrayBuffer> {
  const response = await send(url, options, signal, `bytes=${start}-${end - 1}`);
  const range = contentRange(response);
  if (
    range !== null &&
    (range.size !== size || (tag !== null && (response.headers.get("etag") ?? tag) !== tag))
  ) {
    await response.body?.cancel();
    throw fault(
      url,
      "a file that stays as it is",
      "another one than at first",
      "Run the same command again.",
    );
  }
  if (range === null || range.start !== start || range.end !== end) {
    await response.body?.cancel();
    throw new Passing(`Content-Range ${response.headers.get("content-range")} for bytes ${start}-${end - 1}`);
  }
  return bodyOf(response, end - start);
}

/** The body, which must have the length asked for. A longer one is not read to its end: it may have none. */
async function bodyOf(response: Response, length: number): Promise<ArrayBuffer> {
  const body = new Uint8Array(length);
  let done = 0;
  const reader = response.body?.getReader();
  for (let next = await reader?.read(); next?.value !== undefined; next = await reader?.read()) {
    if (done + next.value.length > length) {
      await reader?.cancel();
      throw new Passing(`more than ${length} bytes`);
    }
    body.set(next.value, done);
    done += next.value.length;
  }
  if (done !== length) throw new Passing(`${done} of ${length} bytes`);
  return body.buffer;
}

function contentRange(response: Response): Range | null {
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  if (match === null) return null;
  const [start, last, size] = match.slice(1).map(Number) as [number, number, number];
  return [start, last, size].every(Number.isSafeInteger) ? { start, end: last + 1, size } : null;
}

function fault(url: string, expected: string, got: string, fix: string, cause?: unknown): BlockscaleError {
  return new BlockscaleError("io", { where: url, expected, got, fix }, { cause });
}
