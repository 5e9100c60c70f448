import { kindOf } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { checkKnown } from "../tensor/options.ts";
import { attempt, type RetryOptions, TransientError } from "./retry.ts";
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
  /**
   * Headers of each request, such as Authorization. Where a server redirects to another host, they do not go
   * along; but for browsers, which drop Authorization alone, and send others on if that host allows them.
   */
  readonly headers?: { readonly [name: string]: string };
}

/** Names of the options of {@link openUrl}. */
export const URL_OPTIONS: readonly string[] = ["signal", "tries", "wait", "timeout", "fetch", "headers"];

/**
 * Refuses what is no address. On a page an address may be relative to that of the page.
 * @throws BlockscaleError `option`
 */
export function checkUrl(where: string, url: string): void {
  if (typeof url === "string" && URL.canParse(url, globalThis.location?.href)) return;
  throw new BlockscaleError("option", {
    where: `${where}: url`,
    expected: "an address, such as https://example.org/model.safetensors",
    got: typeof url === "string" ? JSON.stringify(url) : kindOf(url),
    fix: "Pass the whole address of the file as a string; files on disk are opened with openFile of blockscale/node.",
  });
}

/** Bytes of the largest file that is kept in memory where a server knows no ranges. */
const LARGEST_WHOLE = 64 * 2 ** 20;

/**
 * Opens a file by its URL. One byte is asked for, not HEAD: some servers compress answers to HEAD and lose
 * the length. A server that knows no ranges sends the whole file instead, which is kept if it is small.
 * @throws BlockscaleError `io`: no such file, a large one without range
 * support, or no answer after several tries
 */
export async function openUrl(url: string, options: UrlOptions = {}): Promise<UrlSource> {
  checkUrl("openUrl", url);
  checkKnown("openUrl", options, URL_OPTIONS);
  const asking: Asking = { ...options, hidesRedirects: false };
  const { size, tag, whole } = await attempt(url, options, (signal) => probe(url, asking, signal));
  if (whole !== undefined) {
    return { url, size, tag, slice: (start, end) => ({ arrayBuffer: async () => whole.slice(start, end) }) };
  }
  return {
    url,
    size,
    tag,
    slice: (start, end) => ({
      arrayBuffer: () =>
        end <= start
          ? Promise.resolve(new ArrayBuffer(0))
          : attempt(url, options, (signal) => fetchRange(url, asking, signal, { start, end, size, tag })),
    }),
  };
}

/** How a file is asked for. */
interface Asking extends UrlOptions {
  /** Browsers do not tell where a redirect leads; known once the first one was met. */
  hidesRedirects: boolean;
}

async function send(url: string, options: Asking, signal: AbortSignal, range: string): Promise<Response> {
  const response = await request(url, options, signal, range);
  const { status } = response;
  if (status === 206 || (status === 200 && range === PROBE)) return response;
  await response.body?.cancel();
  if (status === 200) throw withoutRanges(url);
  if (status === 408 || status === 429 || status >= 500) throw new TransientError(`status ${status}`);
  const fix =
    status === 401 || status === 403 ? "Check that you may read it, and pass a token." : "Check the address.";
  throw fault(url, "the file", `status ${status}`, fix);
}

/** Most redirects of one request, as in `fetch`. */
const MOST_REDIRECTS = 20;

/** Sends a request, and follows redirects, to another host without the headers. */
async function request(url: string, asking: Asking, signal: AbortSignal, range: string): Promise<Response> {
  const { fetch: ask = fetch, headers = {} } = asking;
  let own = headers;
  const askFor = (at: string, redirect: RequestRedirect) =>
    ask(at, { headers: { ...own, Range: range }, signal, redirect });
  if (Object.keys(headers).length === 0) return askFor(url, "follow");
  let at = new URL(url, globalThis.location?.href);
  for (let redirects = 0; !asking.hidesRedirects; redirects++) {
    const response = await askFor(at.href, "manual");
    if (response.type === "opaqueredirect") {
      asking.hidesRedirects = true;
      break;
    }
    const location = response.headers.get("location");
    const isRedirect = [301, 302, 303, 307, 308].includes(response.status) && location !== null;
    if (!isRedirect || redirects === MOST_REDIRECTS) return response;
    await response.body?.cancel();
    const next = new URL(location, at);
    // As `fetch` does: a server must not choose what is read from elsewhere, such as a file on this machine.
    if (!/^https?:$/.test(next.protocol))
      throw fault(url, "the file", `a redirect to ${next.protocol}`, "Check the address.");
    if (next.origin !== at.origin) own = {};
    at = next;
  }
  return askFor(at.href, "follow");
}

const PROBE = "bytes=0-0";

function withoutRanges(url: string): BlockscaleError {
  return fault(
    url,
    `a server that answers range requests, or a file of at most ${LARGEST_WHOLE} bytes`,
    "one that sends whole files",
    "Download the file first.",
  );
}

interface Probed {
  readonly size: number;
  readonly tag: string | null;
  /** All of the file, from a server that knows no ranges. */
  readonly whole?: ArrayBuffer;
}

async function probe(url: string, options: Asking, signal: AbortSignal): Promise<Probed> {
  const response = await send(url, options, signal, PROBE);
  const tag = response.headers.get("etag");
  if (response.status === 200) {
    const whole = await wholeBody(url, response);
    return { size: whole.byteLength, tag, whole };
  }
  const range = contentRange(response);
  if (range === null || range.start !== 0 || range.end !== 1) {
    await response.body?.cancel();
    throw new TransientError(`Content-Range ${response.headers.get("content-range")} for bytes 0-0`);
  }
  await bodyOf(response, 1);
  return { size: range.size, tag };
}

/**
 * A body of unknown length, as long as it is small. What was compressed on
 * the way has another length than it says.
 */
async function wholeBody(url: string, response: Response): Promise<ArrayBuffer> {
  const said = response.headers.has("content-encoding") ? null : response.headers.get("content-length");
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = response.body?.getReader();
  if (Number(said ?? 0) <= LARGEST_WHOLE) {
    for (let next = await reader?.read(); next?.value !== undefined; next = await reader?.read()) {
      chunks.push(next.value);
      size += next.value.length;
      if (size > LARGEST_WHOLE) break;
    }
    if (size <= LARGEST_WHOLE) {
      if (said !== null && size !== Number(said)) throw new TransientError(`${size} of ${said} bytes`);
      return new Blob(chunks as BlobPart[]).arrayBuffer();
    }
  }
  await reader?.cancel();
  throw withoutRanges(url);
}

/** What a Content-Range header tells. */
interface ContentRange {
  readonly start: number;
  readonly end: number;
  readonly size: number;
}

async function fetchRange(
  url: string,
  options: Asking,
  signal: AbortSignal,
  { start, end, size, tag }: ContentRange & { readonly tag: string | null },
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
    throw new TransientError(
      `Content-Range ${response.headers.get("content-range")} for bytes ${start}-${end - 1}`,
    );
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
      throw new TransientError(`more than ${length} bytes`);
    }
    body.set(next.value, done);
    done += next.value.length;
  }
  if (done !== length) throw new TransientError(`${done} of ${length} bytes`);
  return body.buffer;
}

function contentRange(response: Response): ContentRange | null {
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  if (match === null) return null;
  const [start, last, size] = match.slice(1).map(Number) as [number, number, number];
  return [start, last, size].every(Number.isSafeInteger) ? { start, end: last + 1, size } : null;
}

function fault(url: string, expected: string, got: string, fix: string, cause?: unknown): BlockscaleError {
  return new BlockscaleError("io", { where: url, expected, got, fix }, { cause });
}
