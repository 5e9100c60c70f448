import type { Engine } from "../../engine/engine.ts";
import { kindOf } from "../../tensor/checks.ts";
import { BlockscaleError } from "../../tensor/errors.ts";

/** @throws BlockscaleError `option`: it is no engine on the calling thread */
export function checkEngine(where: string, engine: Engine): void {
  if (typeof engine?.quantize === "function") return;
  throw new BlockscaleError("option", {
    where: `${where}: engine`,
    expected: "an engine",
    got: kindOf(engine),
    fix: "Pass what load() of blockscale gives: await load().",
  });
}
