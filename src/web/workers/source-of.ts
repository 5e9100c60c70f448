import { openUrl } from "../../io/http.ts";
import type { Source } from "../../io/source.ts";
import type { NamedSource } from "./protocol.ts";

/** Opens a file wherever it is: one on a server is read by ranges. */
export async function openSource(named: NamedSource): Promise<Source> {
  return "file" in named ? named.file : openUrl(named.url);
}
