import { baseline, relaxed } from "#kernels";
import { BlockscaleError, shown } from "../tensor/errors.ts";
import { accepts, compileModule, refused } from "./module.ts";

/** The builds that ship: `relaxed` fuses multiply-adds where the engine can, `baseline` needs only SIMD. */
export type Variant = "relaxed" | "baseline";

/** Bytes of the builds, or compiled modules where the host imports those. */
export interface Builds {
  baseline(): WebAssembly.Module | Uint8Array<ArrayBuffer>;
  /** Undefined where the host could not tell whether it runs. */
  relaxed(): WebAssembly.Module | Uint8Array<ArrayBuffer> | undefined;
}

/** A compiled build, and which one it is. */
export interface Binary {
  readonly module: WebAssembly.Module;
  readonly variant: Variant;
}

/**
 * Compiles the asked-for build, or the best one that this host accepts: the relaxed bytes themselves are
 * validated, so nothing is guessed from names or versions.
 * @param builds default: those of the products and casts
 * @throws BlockscaleError `wasm`: no WebAssembly, no SIMD, or compiling is forbidden.
 */
export function compile(variant?: Variant, builds: Builds = { baseline, relaxed }): Binary {
  if (typeof WebAssembly !== "object") throw refused("WebAssembly is not defined");
  if (variant !== undefined && variant !== "relaxed" && variant !== "baseline") {
    throw new BlockscaleError("option", {
      where: "load: variant",
      expected: '"relaxed" or "baseline"',
      got: shown(variant),
      fix: "Leave it out to get the best build that runs here.",
    });
  }
  if (variant !== "baseline") {
    const source = builds.relaxed();
    if (source !== undefined && accepts(source)) return { module: compileModule(source), variant: "relaxed" };
    if (variant === "relaxed") throw refused("a host without relaxed SIMD");
  }
  const source = builds.baseline();
  if (!accepts(source)) throw refused("a host without SIMD");
  return { module: compileModule(source), variant: "baseline" };
}
