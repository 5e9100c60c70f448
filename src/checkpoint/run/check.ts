import type { Engine } from "../../engine/engine.ts";
import type { Source } from "../../io/source.ts";
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

/** @throws BlockscaleError `option`: it is no list of sources */
export function checkSources(where: string, sources: readonly Source[]): void {
  if (Array.isArray(sources)) return;
  throw new BlockscaleError("option", {
    where: `${where}: sources`,
    expected: "a list of sources, one for each shard",
    got: kindOf(sources),
    fix: "Pass const { sources } = await openCheckpoint(files).",
  });
}
