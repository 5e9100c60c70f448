import { openUrl } from "../../io/http.ts";
import type { Source } from "../../io/source.ts";
import type { NamedSource } from "./protocol.ts";

/** Opens a file wherever it is: one on a server is read by ranges. */
export async function openSource(named: NamedSource): Promise<Source> {
  if ("file" in named) return named.file;
  const { url, token } = named;
  return openUrl(url, token === undefined ? {} : { headers: { Authorization: `Bearer ${token}` } });
}
