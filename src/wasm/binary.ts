import { baseline, relaxed } from "#kernels";
import { BlockscaleError } from "../errors.ts";

/** The builds that ship: `relaxed` fuses multiply-adds where the engine can, `baseline` needs only SIMD. */
export type Variant = "relaxed" | "baseline";

/** A compiled build, and which one it is. */
export interface Binary {
  readonly module: WebAssembly.Module;
  readonly variant: Variant;
}

/**
 * Compiles the asked-for build, or the best one that this host accepts: the relaxed bytes themselves are validated,
 * so nothing is guessed from names or versions.
 * @throws BlockscaleError `wasm`: no WebAssembly, no SIMD, or compiling is forbidden.
 */
export function compile(variant?: Variant): Binary {
  if (typeof WebAssembly !== "object") throw refused("WebAssembly is not defined");
  if (variant !== undefined && variant !== "relaxed" && variant !== "baseline") {
    throw new BlockscaleError("option", {
      where: "load: variant",
      expected: '"relaxed" or "baseline"',
      got: JSON.stringify(variant) ?? String(variant),
      fix: "Leave it out to get the best build that runs here.",
    });
  }
  if (variant !== "baseline") {
    const source = relaxed();
    if (accepts(source)) return { module: toModule(source), variant: "relaxed" };
    if (variant === "relaxed") throw refused("a host without relaxed SIMD");
  }
  const source = baseline();
  if (!accepts(source)) throw refused("a host without SIMD");
  return { module: toModule(source), variant: "baseline" };
}

/** Compiles bytes; passes a Module through, also one of another realm. */
export function toModule(source: WebAssembly.Module | BufferSource): WebAssembly.Module {
  if (isModule(source)) return source;
  try {
    return new WebAssembly.Module(source);
  } catch (error) {
    throw refused(error instanceof Error ? error.message : String(error), error);
  }
}

function isModule(source: WebAssembly.Module | BufferSource): source is WebAssembly.Module {
  return Object.prototype.toString.call(source) === "[object WebAssembly.Module]";
}

function accepts(source: WebAssembly.Module | BufferSource): boolean {
  return isModule(source) || WebAssembly.validate(source);
}

function refused(got: string, cause?: unknown): BlockscaleError {
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
