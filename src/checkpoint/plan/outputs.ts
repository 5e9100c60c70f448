import type { Source } from "../../io/source.ts";
import { type Direction, documentsOf, type OpenedCheckpoint } from "./folder.ts";
import type { FilePlan, Plan } from "./plan.ts";

/**
 * One file of a converted checkpoint: weights, a file carried over as it is,
 * or a text made anew. Sizes are in bytes.
 */
export type OutputFile = { readonly name: string; readonly size: number } & (
  | { readonly kind: "shard"; readonly plan: FilePlan }
  | { readonly kind: "copy"; readonly source: Source }
  | { readonly kind: "text"; readonly bytes: Uint8Array }
);

/**
 * All files of a converted checkpoint, in the order in which to write them. config.json and the index are the
 * last ones: a folder that has them is whole.
 * @param files the input, by name
 * @throws BlockscaleError `dialect`: some weights would stay in another dialect than config.json can tell
 */
export function outputsOf(
  files: ReadonlyMap<string, Source>,
  opened: OpenedCheckpoint,
  plan: Plan,
  direction: Direction,
): OutputFile[] {
  const shards = plan.files.map(
    (file): OutputFile => ({ kind: "shard", name: file.name, size: file.size, plan: file }),
  );
  const copies = opened.others.map((name): OutputFile => {
    const source = files.get(name)!;
    return { kind: "copy", name, size: source.size, source };
  });
  const texts = documentsOf(opened, plan, direction).map(({ name, text }): OutputFile => {
    const bytes = new TextEncoder().encode(text);
    return { kind: "text", name, size: bytes.length, bytes };
  });
  return [...shards, ...copies, ...texts];
}
