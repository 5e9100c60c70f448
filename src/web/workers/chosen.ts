import type { Source } from "../../io/source.ts";
import { findPlace } from "./places.ts";
import type { ChosenCheckpoint, NamedSource } from "./protocol.ts";
import { openSource } from "./source-of.ts";

/** The files of what was chosen, and what to call them together. @throws PageError, BlockscaleError `io` */
export async function filesOf(
  chosen: ChosenCheckpoint,
): Promise<{ readonly name: string; readonly files: readonly NamedSource[] }> {
  return chosen.kind === "files" ? chosen : findPlace(chosen.place, chosen.token);
}

/** Opens files. @returns them by path @throws BlockscaleError `io` */
export async function openFiles(files: readonly NamedSource[]): Promise<ReadonlyMap<string, Source>> {
  return new Map(
    await Promise.all(files.map(async (named) => [named.path, await openSource(named)] as const)),
  );
}

/** Opens every file of what was chosen. @throws PageError, BlockscaleError `io` */
export async function openChosen(
  chosen: ChosenCheckpoint,
): Promise<{ readonly name: string; readonly files: ReadonlyMap<string, Source> }> {
  const { name, files } = await filesOf(chosen);
  return { name, files: await openFiles(files) };
}
