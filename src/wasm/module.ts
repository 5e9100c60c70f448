import { BlockscaleError } from "../tensor/errors.ts";

/** A build from outside: its bytes, a compiled module, or a fetch of it. */
export type WasmSource = WebAssembly.Module | BufferSource | Response | PromiseLike<Response>;

/**
 * Fetches and compiles what a caller hosts.
 * @throws BlockscaleError `wasm`: the fetch failed, it is no WebAssembly, or compiling is forbidden.
 */
export async function fetchModule(source: WasmSource): Promise<WebAssembly.Module> {
  let found: unknown;
  try {
    found = await source;
  } catch (error) {
    throw wrongSource(error instanceof Error ? error.message : String(error), error);
  }
  if (!isResponse(found)) return compileModule(found as WebAssembly.Module | BufferSource);
  if (!found.ok) throw wrongSource(`HTTP status ${found.status} ${found.url}`.trim());
  return compileModule(await found.arrayBuffer());
}

/**
 * Compiles bytes; passes a Module through, also one of another realm.
 * @throws BlockscaleError `wasm`
 */
export function compileModule(source: WebAssembly.Module | BufferSource): WebAssembly.Module {
  if (typeof WebAssembly !== "object") throw refused("WebAssembly is not defined");
  if (isModule(source)) return source;
  if (!isBytes(source)) throw wrongSource(tagOf(source));
  try {
    return new WebAssembly.Module(source);
  } catch (error) {
    const got = error instanceof Error ? error.message : String(error);
    throw accepts(source) ? refused(got, error) : wrongSource(got, error);
  }
}

/** Whether a host would run this build; a Module has passed already. */
export function accepts(source: WebAssembly.Module | BufferSource): boolean {
  return isModule(source) || WebAssembly.validate(source);
}

export function refused(got: string, cause?: unknown): BlockscaleError {
  return new BlockscaleError(
    "wasm",
    {
      where: "load",
      expected: "a host that compiles WebAssembly with SIMD",
      got,
      fix: "Under a Content-Security-Policy, allow 'wasm-unsafe-eval'; without WebAssembly, import blockscale/js.",
    },
    { cause },
  );
}

function wrongSource(got: string, cause?: unknown): BlockscaleError {
  return new BlockscaleError(
    "wasm",
    {
      where: "load: wasm",
      expected:
        "bytes of blockscale/baseline.wasm, a WebAssembly.Module of it, or a fetch of it, on a host with SIMD",
      got,
      fix: "Pass fetch(url), the bytes, or the module; without WebAssembly or SIMD, import blockscale/js.",
    },
    { cause },
  );
}

// By tag instead of instanceof: hosts such as Next's edge runtime hand out objects of another realm.
function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

function isModule(source: unknown): source is WebAssembly.Module {
  return tagOf(source) === "WebAssembly.Module";
}

function isResponse(source: unknown): source is Response {
  return tagOf(source) === "Response";
}

function isBytes(source: unknown): source is BufferSource {
  return ArrayBuffer.isView(source) || /^(Shared)?ArrayBuffer$/.test(tagOf(source));
}
