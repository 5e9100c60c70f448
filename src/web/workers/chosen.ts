import type { Source } from "../../io/source.ts";
import { findPlace } from "./places.ts";
import type { Chosen } from "./protocol.ts";
import { openSource } from "./source-of.ts";

/** Opens every file of what was chosen. @throws PageError, BlockscaleError `io` */
export async function openChosen(
  chosen: Chosen,
): Promise<{ readonly name: string; readonly files: ReadonlyMap<string, Source> }> {
  const { name, files } = chosen.kind === "files" ? chosen : await findPlace(chosen.place, chosen.token);
  const opened = files.map(async (named) => [named.path, await openSource(named)] as const);
  return { name, files: new Map(await Promise.all(opened)) };
}
